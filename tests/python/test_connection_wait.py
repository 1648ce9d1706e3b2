"""shoal.connection: waiting for any mix of objects, and what it shares with multiprocessing.connection."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing.connection
import os
import pickle
import select
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
import shoal
from shoal.connection import wait

PATIENCE = 30.0


def run_until_set(event: Any) -> None:
    event.wait(PATIENCE)


def work_for_each_kind(event: Any, queue: Any, connection: Any, end: Any) -> None:
    end.wait(PATIENCE)
    connection.send("sent")
    queue.put("put")
    event.set()


def test_it_returns_all_that_are_ready_of_any_mix_in_the_order_given(context: Any) -> None:
    event, end, queue, (here, there) = context.Event(), context.Event(), context.Queue(), context.Pipe()
    child = context.Process(target=work_for_each_kind, args=(event, queue, there, end))
    child.start()
    mix = [child.sentinel, queue, here, event, child]
    assert wait(mix, 0) == []
    end.set()
    child.join()
    assert wait(mix, PATIENCE) == mix
    assert wait(mix[::-1], 0) == mix[::-1]
    assert queue.get() == "put"
    assert here.recv() == "sent"
    event.clear()
    assert wait(mix, 0) == [child.sentinel, child]


def test_a_process_is_ready_once_it_has_ended(context: Any) -> None:
    end = context.Event()
    child = context.Process(target=run_until_set, args=(end,))
    child.start()
    assert wait([child], 0.01) == []
    end.set()
    assert wait([child], PATIENCE) == [child]
    child.join()


def test_it_waits_for_sockets_pipes_and_bare_descriptors() -> None:
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    listener = shoal.connection.Listener()
    try:
        mix = [left, reader, listener._listener._socket]
        assert wait(mix, 0) == []
        right.send(b"x")
        os.write(writer, b"x")
        client = shoal.connection.Client(listener.address)
        assert wait(mix, PATIENCE) == mix
        client.close()
    finally:
        listener.close()
        for one in (left, right):
            one.close()
        os.close(reader)
        os.close(writer)


def test_it_wakes_up_when_one_becomes_ready(context: Any) -> None:
    never, event = context.Event(), context.Event()
    timer = threading.Timer(0.02, event.set)
    timer.start()
    assert wait([never, event], PATIENCE) == [event]
    assert event.is_set()
    timer.join()


@pytest.mark.parametrize("timeout", [0, -1, 0.02])
def test_it_gives_up_when_the_time_has_passed(timeout: float) -> None:
    started = time.monotonic()
    assert wait([shoal.Event()], timeout) == []
    assert time.monotonic() - started >= timeout


def test_an_object_may_be_given_twice_or_by_any_iterable() -> None:
    event = shoal.Event()
    event.set()
    assert wait(one for one in (event, event)) == [event, event]
    assert wait([], 0) == []
    assert shoal.wait({event}, timeout=None) == [event]


@pytest.mark.parametrize("stranger", [object(), "text", -1, 2**40, None])
def test_what_cannot_be_waited_for_is_refused(stranger: Any) -> None:
    with pytest.raises(ValueError, match="Invalid file"):
        wait([shoal.Event(), stranger], 0)


def test_a_closed_connection_is_refused_and_a_closed_number_counts_as_ready_as_in_multiprocessing() -> None:
    here, there = shoal.Pipe()
    number = here.fileno()
    here.close()
    there.close()
    for waiting in (wait, multiprocessing.connection.wait):
        with pytest.raises(OSError, match="closed"):
            waiting([here], 0)
        assert waiting([number], 0) == [number]


def test_what_a_fileno_raises_comes_through() -> None:
    class Broken:
        def fileno(self) -> int:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        wait([Broken()], 0)


def test_a_signal_handler_runs_in_the_middle_and_the_wait_goes_on() -> None:
    ran: list[int] = []
    event = shoal.Event()

    def handle(*_: Any) -> None:
        ran.append(1)
        if len(ran) == 3:
            event.set()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        assert wait([event], PATIENCE) == [event]
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(ran) >= 3


def test_ctrl_c_ends_a_wait(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import os, shoal, signal, threading\n"
        "from shoal.connection import wait\n"
        "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    wait([shoal.Event()])\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n",
    )
    assert ended.out == "interrupted\n", ended


def test_other_threads_run_meanwhile() -> None:
    event = shoal.Event()
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(wait([event], PATIENCE)))
    thread.start()
    event.set()
    thread.join(PATIENCE)
    assert results == [[event]]


def test_a_thousand_idle_objects_cost_neither_threads_nor_descriptors() -> None:
    queues = [shoal.Queue() for _ in range(500)]
    events = [shoal.Event() for _ in range(500)]
    assert wait([*queues, *events], 0) == []
    before = len(os.listdir("/proc/self/fd")), os.listdir("/proc/self/task")
    child = shoal.get_context("fork").Process(target=queues[321].put, args=(1,))
    child.start()
    assert wait([*queues, *events], PATIENCE) == [queues[321]]
    assert os.listdir("/proc/self/task") == before[1]
    child.join()
    child.close()
    assert len(os.listdir("/proc/self/fd")) <= before[0] + 1


def test_of_thousands_of_any_mix_all_that_are_ready_are_returned_in_the_order_given() -> None:
    kinds: list[Callable[[], Any]] = [shoal.Queue, shoal.Event, shoal.SimpleQueue, lambda: shoal.Queue()._reader]
    many = [make() for _ in range(500) for make in kinds]
    with shoal.Pool(1) as pool:
        results = [pool.apply_async(abs, [-value]) for value in range(100)]
        mix = [*many[:1000], *results, *many[1000:]]
        many[400].put(1)
        many[1601].set()
        wait_for_all(results)
        ready = [many[400], *results, many[1601]]
        assert wait(mix, 0) == ready
        assert wait(mix[::-1], 0) == ready[::-1]
        # One that stays ready hides no other, whatever its place.
        many[0].put(1)
        assert wait(mix, 0) == [many[0], *ready]


def wait_for_all(objects: list[Any]) -> None:
    while len(wait(objects, PATIENCE)) < len(objects):
        pass


@pytest.mark.parametrize("selector_type", [selectors.EpollSelector, selectors.PollSelector, selectors.SelectSelector])
def test_selectors_take_processes_events_and_queues(selector_type: type[selectors.BaseSelector]) -> None:
    event, queue, end = shoal.Event(), shoal.Queue(), shoal.Event()
    child = shoal.Process(target=run_until_set, args=(end,))
    child.start()
    with selector_type() as selector:
        for one in (child, event, queue):
            selector.register(one, selectors.EVENT_READ)
        assert selector.select(0) == []
        event.set()
        assert [key.fileobj for key, _ in selector.select(PATIENCE)] == [event]
        event.clear()
        queue.put(1)
        assert [key.fileobj for key, _ in selector.select(PATIENCE)] == [queue]
        queue.get()
        end.set()
        assert [key.fileobj for key, _ in selector.select(PATIENCE)] == [child]
    child.join()


def test_asyncio_can_wait_for_an_event(context: Any) -> None:
    event = context.Event()
    child = context.Process(target=event.set)
    child.start()

    async def until_set() -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(event.fileno(), readable.set)
        await asyncio.wait_for(readable.wait(), PATIENCE)
        loop.remove_reader(event.fileno())

    asyncio.run(until_set())
    child.join()


def test_all_else_is_the_standard_librarys_own() -> None:
    standard = multiprocessing.connection
    for name in standard.__all__:
        assert hasattr(shoal.connection, name)
    assert shoal.connection.__all__ == standard.__all__
    assert shoal.connection.Connection is standard.Connection
    assert shoal.connection.Listener is standard.Listener
    assert shoal.connection.answer_challenge is standard.answer_challenge  # type: ignore[attr-defined]
    assert set(dir(standard)) <= set(dir(shoal.connection))
    with pytest.raises(AttributeError, match=r"'shoal\.connection' has no attribute 'nothing'"):
        shoal.connection.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_shoal_does_not_import_it(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import shoal, sys\n"
        "print('shoal.connection' in sys.modules)\n"
        "assert shoal.wait is shoal.connection.wait\n"
        "print('shoal.connection' in sys.modules)\n",
    )
    assert ended.out == "False\nTrue\n", ended


def test_under_the_alias_it_is_multiprocessings(run: Callable[..., Any], program: Any) -> None:
    program("""
        import multiprocessing.connection
        from multiprocessing.connection import Client, Connection, Listener, wait
        from concurrent.futures import ProcessPoolExecutor

        if __name__ == "__main__":
            print(multiprocessing.connection.__name__, wait is multiprocessing.connection.wait)
            here, there = multiprocessing.Pipe()
            there.send(here)  # as multiprocessing.connection.rebuild_connection
            copy = here.recv()
            print(type(copy) is Connection)
            with ProcessPoolExecutor(2) as pool:
                print(list(pool.map(abs, [-1, 2])))
    """)
    ended = run("-m", "shoal", "program.py")
    assert ended.out == "shoal.connection True\nTrue\n[1, 2]\n", ended


def test_wait_is_no_name_that_a_star_import_brings() -> None:
    assert "wait" not in shoal.__all__


def test_processes_of_a_pool_executor_can_be_waited_for_together_with_a_queue() -> None:
    queue = shoal.Queue()
    with ProcessPoolExecutor(1) as pool:
        pool.submit(abs, -1).result(PATIENCE)
        worker = next(iter(pool._processes.values()))
        queue.put(1)
        assert wait([worker, queue], PATIENCE) == [queue]
        pool.shutdown(wait=False)
        assert wait([worker], PATIENCE) == [worker]


def test_a_copy_of_an_event_is_polled_as_well() -> None:
    event = shoal.Event()
    copy = pickle.loads(pickle.dumps(event))
    event.set()
    assert wait([copy], 0) == [copy]
    copy.clear()
    assert select.select([event, copy], [], [], 0)[0] == []


def test_its_signature_is_the_standard_librarys() -> None:
    assert str(inspect.signature(wait)) == str(inspect.signature(multiprocessing.connection.wait))

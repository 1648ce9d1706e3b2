"""shoal.Queue and SimpleQueue as a multiprocessing program sees them."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from shoal import _core


class NotPicklable:
    def __reduce__(self) -> Any:
        raise TypeError("a NotPicklable cannot be pickled")


def square_all(numbers: Any, squares: Any) -> None:
    while (number := numbers.get()) is not None:
        squares.put(number * number)


def put_then_idle(numbers: Any, ready: Any) -> None:
    numbers.put("from the dead")
    ready.set()
    signal.pause()


def test_items_leave_in_the_order_they_came(context: Any) -> None:
    numbers, squares = context.Queue(), context.SimpleQueue()
    child = context.Process(target=square_all, args=(numbers, squares))
    child.start()
    for number in range(100):
        numbers.put(number)
    numbers.put(None)
    assert [squares.get() for _ in range(100)] == [number * number for number in range(100)]
    child.join()
    assert child.exitcode == 0


def test_a_full_queue_raises_full_at_once_or_after_the_timeout() -> None:
    bounded = shoal.Queue(1)
    bounded.put("first")
    assert bounded.full()
    with pytest.raises(queue.Full):
        bounded.put_nowait("second")
    with pytest.raises(queue.Full):
        bounded.put("second", block=False)
    started = time.monotonic()
    with pytest.raises(queue.Full):
        bounded.put("second", timeout=0.05)
    assert time.monotonic() - started >= 0.05
    assert bounded.qsize() == 1


def test_a_queue_with_a_bound_in_bytes_takes_no_more_once_it_has_as_many() -> None:
    bounded: shoal.Queue[bytes] = shoal.Queue(maxbytes=10_000)
    assert (bounded.maxsize, bounded.maxbytes) == (0, 10_000)
    for _ in range(3):
        assert not bounded.full()
        bounded.put(bytes(4_000))
    assert bounded.full()
    with pytest.raises(queue.Full):
        bounded.put_nowait(1)
    with pytest.raises(queue.Full):
        bounded.put(1, timeout=0.05)
    assert len(bounded.get()) == 4_000
    bounded.put_nowait(bytes(100_000))  # one item of any size goes in, so that none is too large for ever
    assert bounded.qsize() == 3


@pytest.mark.parametrize("bound", [0, -1])
def test_no_bound_or_less_than_none_is_no_bound(bound: int) -> None:
    unbounded: shoal.Queue[int] = shoal.Queue(bound, maxbytes=bound)
    assert (unbounded.maxsize, unbounded.maxbytes) == (0, 0)
    unbounded.put_many(range(10_000))
    assert not unbounded.full()


def test_an_empty_queue_raises_empty_at_once_or_after_the_timeout() -> None:
    empty = shoal.Queue()
    assert empty.empty()
    with pytest.raises(queue.Empty):
        empty.get_nowait()
    with pytest.raises(queue.Empty):
        empty.get(False)
    started = time.monotonic()
    with pytest.raises(queue.Empty):
        empty.get(True, 0.05)
    assert time.monotonic() - started >= 0.05


def test_signatures_are_those_of_multiprocessing() -> None:
    any_queue = shoal.Queue(maxsize=2, ctx=shoal.get_context("spawn"))
    any_queue.put(obj=1, block=True, timeout=1)
    any_queue.put(2, True, None)
    assert any_queue.get(block=True, timeout=1) == 1
    assert any_queue.get(True, 1) == 2


def test_an_unpicklable_object_raises_at_the_caller_and_is_named() -> None:
    target = shoal.Queue()
    with pytest.raises(TypeError, match="NotPicklable"):
        target.put(NotPicklable())
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        target.put(lambda: None)
    assert target.empty()
    target.put("still works")
    assert target.get() == "still works"


def test_a_subclass_with_multiprocessings_error_hook_gets_the_error_there() -> None:
    class Hooked(shoal.Queue[Any]):
        failed: Any = None

        def _on_queue_feeder_error(self, e: Exception, obj: Any) -> None:  # type: ignore[override]
            self.failed = (e, obj)

    hooked = Hooked(1)
    unpicklable = NotPicklable()
    hooked.put(unpicklable)
    assert isinstance(hooked.failed[0], TypeError)
    assert hooked.failed[1] is unpicklable
    hooked.put(1)
    with pytest.raises(queue.Full):
        hooked.put(2, block=False)


def test_a_program_for_multiprocessing_is_not_surprised_by_put(run: Callable[..., Any], program: Any) -> None:
    program("""
        import multiprocessing

        class NotPicklable:
            def __reduce__(self):
                raise TypeError("a NotPicklable cannot be pickled")

        for kind in (multiprocessing.Queue, multiprocessing.JoinableQueue):
            queue = kind(1)
            queue.put(NotPicklable())
            queue.put("next")
            print(queue.get(), queue.qsize())
        try:
            multiprocessing.SimpleQueue().put(NotPicklable())
        except TypeError as error:
            print(error)
    """)
    ended = run("-m", "shoal", "program.py")
    assert (ended.status, ended.out) == (0, "next 0\nnext 0\na NotPicklable cannot be pickled\n"), ended
    assert ended.err.count("TypeError: a NotPicklable cannot be pickled") == 2, ended


def test_a_signal_handler_that_raises_ends_put_and_is_no_affair_of_the_hook() -> None:
    class Enough(Exception):  # noqa: N818
        pass

    class Hooked(shoal.Queue[Any]):
        @staticmethod
        def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
            pytest.fail("called")

    def handle(number: int, frame: Any) -> None:
        raise Enough

    full = Hooked(1)
    full.put(1)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Enough):
            full.put(2)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_closed_queue_says_so_and_others_go_on(context: Any) -> None:
    numbers, squares = context.Queue(), context.Queue()
    child = context.Process(target=square_all, args=(numbers, squares))
    child.start()
    numbers.put(3)
    numbers.put(None)
    numbers.close()
    with pytest.raises(ValueError, match="is closed"):
        numbers.put(4)
    with pytest.raises(ValueError, match="is closed"):
        numbers.get()
    assert squares.get(timeout=30) == 9
    child.join()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue"])
def test_empty_of_a_closed_handle_answers_as_multiprocessings(kind: str) -> None:
    unused: Any = getattr(shoal, kind)()
    unused.close()
    assert unused.empty()
    for put in (lambda q: q.put(1), lambda q: q.put_many([1])):
        used: Any = getattr(shoal, kind)()
        put(used)
        used.close()
        used.join_thread()
        with pytest.raises(OSError, match="is closed"):
            used.empty()


def test_there_is_no_thread_to_join() -> None:
    unjoined = shoal.Queue()
    threads = threading.active_count()
    unjoined.put("x" * 1_000_000)
    assert threading.active_count() == threads
    unjoined.cancel_join_thread()
    with pytest.raises(AssertionError, match="not closed"):
        unjoined.join_thread()
    unjoined.close()
    unjoined.join_thread()


def test_a_queue_outlives_the_process_that_filled_it(context: Any) -> None:
    left, ready = context.Queue(), context.Event()
    child = context.Process(target=put_then_idle, args=(left, ready))
    child.start()
    assert ready.wait(30)
    child.kill()
    child.join()
    assert left.get(timeout=30) == "from the dead"


def make_and_hand_over(through: Any) -> None:
    own = shoal.Queue()
    own.put("made by the dead")
    heir = shoal.Process(target=square_root_of_get, args=(own, through))
    heir.start()
    os._exit(0)  # neither joins nor closes anything


def square_root_of_get(own: Any, through: Any) -> None:
    shoal.parent_process().join()  # type: ignore[union-attr]
    own.put("and added by the heir")
    through.put([own.get(timeout=30), own.get(timeout=30)])


def test_a_queue_goes_on_after_its_creator_died() -> None:
    through = shoal.Queue()
    creator = shoal.Process(target=make_and_hand_over, args=(through,))
    creator.start()
    creator.join()
    assert through.get(timeout=30) == ["made by the dead", "and added by the heir"]


def test_get_runs_signal_handlers_and_goes_on(context: Any, eventually: Callable[..., None]) -> None:
    seen: list[int] = []
    target = shoal.Queue()

    def handle(number: int, frame: Any) -> None:
        seen.append(number)
        target.put("put by the handler")

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        assert target.get(timeout=30) == "put by the handler"
        assert seen == [signal.SIGUSR1]
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_that_raises_ends_get() -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def handle(number: int, frame: Any) -> None:
        raise Enough

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Enough):
            shoal.Queue().get(timeout=30)
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("no_leaks")
def test_queues_leave_no_descriptors_behind() -> None:
    for _ in range(20):
        shoal.Queue().put(1)
        shoal.SimpleQueue().fileno()


def test_out_of_descriptors_is_an_oserror(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import resource, shoal\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "kept = []\n"
        "try:\n"
        "    while True: kept.append(shoal.Queue())\n"
        "except OSError as error: print(len(kept) > 10, error)\n"
        "kept[0].put(1)\n"
        "print(kept[0].get())\n",
    )
    assert ended.status == 0, ended
    assert ended.out.startswith("True "), ended
    assert ended.out.endswith("\n1\n"), ended


def test_arguments_may_be_given_by_name_in_any_order() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.put(block=False, obj=1)
    q.put(timeout=5, obj=2)
    q.put(obj=3)
    assert [q.get(timeout=5), q.get(block=True), q.get(False)] == [1, 2, 3]
    for wrong in ({"obj": 1, "blocks": True}, {}, {"block": True}):
        with pytest.raises(TypeError):
            q.put(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        q.put(1, True, block=False)  # type: ignore[misc]
    with pytest.raises(TypeError):
        q.get(True, 1, 2)  # type: ignore[call-arg]


def test_a_timeout_that_is_no_number_is_refused() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    with pytest.raises(ValueError, match="NaN"):
        q.get(timeout=float("nan"))
    with pytest.raises(TypeError):
        q.get(timeout="1")  # type: ignore[arg-type]


def test_daemon_threads_that_wait_do_not_disturb_the_end_of_the_program(run: Callable[..., Any]) -> None:
    # Retaking the interpreter lock while it ends once terminated the process, in most runs of such a program.
    program = textwrap.dedent("""
        import threading, shoal
        def work(wait):
            while wait() is not None:
                pass
        q, lock, event = shoal.Queue(), shoal.Lock(), shoal.Event()
        lock.acquire()
        for wait in 4 * [q.get] + [lock.acquire, event.wait]:
            threading.Thread(target=work, args=(wait,), daemon=True).start()
        for _ in range(4):
            q.put(None)
    """)
    for _ in range(5):
        ended = run("-c", program)
        assert (ended.status, ended.err) == (0, ""), ended


def test_put_nowait_on_a_queue_without_bound_is_never_full(context: Any) -> None:
    q = shoal.Queue()
    holder = context.Process(target=put_a_large_item, args=(q,))
    holder.start()
    for number in range(20_000):
        q.put_nowait(number)
    holder.join()
    got = [q.get(timeout=30) for _ in range(20_001)]
    assert [item for item in got if isinstance(item, int)] == list(range(20_000))


def put_a_large_item(q: Any) -> None:
    q.put(bytes(100_000_000))


def test_out_of_memory_is_a_memoryerror_and_the_queue_goes_on() -> None:
    q = _core.Queue(memory_limit=4_000_000)
    q.put("first")
    with pytest.raises(MemoryError, match="no shared memory left"):
        q.put(bytes(10_000_000))
    with pytest.raises(MemoryError):
        fill(q)
    held = q.qsize()
    assert held > 3
    assert q.get(timeout=5) == "first"
    for _ in range(held - 1):
        assert q.get(timeout=5) == bytes(500_000)
    q.put(bytes(500_000))
    assert q.get(timeout=5) == bytes(500_000)


def fill(q: _core.Queue) -> None:
    while True:
        q.put(bytes(500_000))

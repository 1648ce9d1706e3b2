"""The descriptor of everything that can be waited for: under select, poll and epoll, for several pollers at once."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal
from shoal.connection import wait

PATIENCE = 30.0


class Poller:
    """Waits for one descriptor in one of the ways there are."""

    ways = ("select", "poll", "epoll", "edge")

    def __init__(self, way: str, descriptor: int) -> None:
        self.way = way
        self._descriptor = descriptor
        self._poll: Any = None
        if way == "poll":
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
        elif way in ("epoll", "edge"):
            self._poll = select.epoll()
            self._poll.register(descriptor, select.EPOLLIN | (select.EPOLLET if way == "edge" else 0))

    def is_woken(self, timeout: float = 0) -> bool:
        if self.way == "select":
            return bool(select.select([self._descriptor], [], [], timeout)[0])
        return bool(self._poll.poll(timeout * 1000 if self.way == "poll" else timeout))


@contextlib.contextmanager
def all_asleep_until_woken(pollers: list[Poller]) -> Iterator[None]:
    """Threads wait in all of them, which all have to be woken by what is done meanwhile."""
    woken: list[str] = []

    def sleep(poller: Poller) -> None:
        if poller.is_woken(PATIENCE):
            woken.append(poller.way)

    threads = [threading.Thread(target=sleep, args=(poller,)) for poller in pollers]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    assert sorted(woken) == sorted(poller.way for poller in pollers)


def check_levels(polled: Any, act: Callable[[], object], drain: Callable[[], object], times: int = 2) -> None:
    """It polls readable from act() until drain(), not before and not after.

    The edge-triggered one is woken by each act(), once or more often.
    """
    descriptor = polled if isinstance(polled, int) else polled.fileno()
    pollers = [Poller(way, descriptor) for way in Poller.ways]
    for _ in range(times):
        assert {poller.way for poller in pollers if poller.is_woken()} <= {"edge"}
        with all_asleep_until_woken(pollers):
            act()
        assert {poller.way for poller in pollers if poller.is_woken()} >= {"select", "poll", "epoll"}
        drain()
    assert isinstance(polled, int) or polled.fileno() == descriptor


def obey(orders: Any, done: Any) -> None:
    for one, method, arguments in iter(orders.get, None):
        getattr(one, method)(*arguments)
        done.put(method)


class Child:
    """A process that does what it is told."""

    def __init__(self, context: Any) -> None:
        self._orders, self._done = context.Queue(), context.Queue()
        self._process = context.Process(target=obey, args=(self._orders, self._done))
        self._process.start()

    def does(self, one: Any, method: str, *arguments: Any) -> Callable[[], None]:
        """What has it call that method of an object, which it gets sent."""

        def order() -> None:
            self._orders.put((one, method, arguments))
            assert self._done.get(timeout=PATIENCE) == method

        return order

    def end(self) -> None:
        self._orders.put(None)
        self._process.join(PATIENCE)
        assert self._process.exitcode == 0


@pytest.fixture
def child(context: Any) -> Iterator[Child]:
    made = Child(context)
    yield made
    made.end()


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_a_queue_polls_readable_while_it_has_items(context: Any, child: Child, kind: str) -> None:
    q = getattr(context, kind)()
    check_levels(q, child.does(q, "put", 1), q.get)


def take_whenever_woken(way: str, q: Any, taken: Any) -> None:
    poller = Poller(way, q.fileno())
    with contextlib.suppress(shoal.ShutDown):
        while poller.is_woken(PATIENCE):
            with contextlib.suppress(queue.Empty):
                while True:
                    taken.put((way, q.get_nowait()))
    taken.put((way, None))


def test_processes_that_poll_one_queue_are_all_woken_and_lose_nothing(context: Any) -> None:
    q, taken = context.Queue(), context.Queue()
    pollers = [context.Process(target=take_whenever_woken, args=(way, q, taken)) for way in Poller.ways]
    for poller in pollers:
        poller.start()
    items: list[int] = []
    for number in range(300):
        q.put(number)
        if number % 10 == 0:  # let them fall asleep
            items.append(taken.get(timeout=PATIENCE)[1])
    while len(items) < 300:
        items.append(taken.get(timeout=PATIENCE)[1])
    assert sorted(items) == list(range(300))
    q.shutdown()
    for poller in pollers:
        poller.join(PATIENCE)
        assert poller.exitcode == 0
    assert sorted(taken.get_many(9)) == sorted((way, None) for way in Poller.ways)


def test_the_reader_of_a_queue_polls_as_the_queue(context: Any, child: Child) -> None:
    q = context.Queue()
    check_levels(q._reader, child.does(q, "put", 1), q.get)


def test_room_polls_readable_while_there_is_some(context: Any, child: Child) -> None:
    q = context.Queue(1)

    def fill() -> None:
        q.put(1)
        with pytest.raises(queue.Full):  # it may poll readable for nothing until somebody looks
            q.put_nowait(2)

    fill()
    check_levels(q.room_fileno(), child.does(q, "get"), fill)


def test_an_event_polls_readable_while_it_is_set(context: Any, child: Child) -> None:
    event = context.Event()
    check_levels(event, child.does(event, "set"), event.clear)


def test_a_connection_polls_readable_while_something_is_there(context: Any, child: Child) -> None:
    here, there = context.Pipe()
    check_levels(here, child.does(there, "send", "x"), here.recv)


def wait_until_set(event: Any) -> None:
    assert event.wait(PATIENCE)


def test_a_process_polls_readable_from_its_end_on(context: Any) -> None:
    go_on = context.Event()
    child = context.Process(target=wait_until_set, args=(go_on,))
    child.start()
    check_levels(child, go_on.set, lambda: None, times=1)
    child.join()
    assert child.exitcode == 0


class Answers:
    """Tasks of a pool that wait until they may answer."""

    begun: Any = None
    go_on: Any = None

    @classmethod
    def begin(cls, begun: Any, go_on: Any) -> None:
        cls.begun, cls.go_on = begun, go_on


def answer(value: int) -> int:
    Answers.begun.release()
    assert Answers.go_on.acquire(timeout=PATIENCE)
    if value < 0:
        raise ValueError(value)
    return value


@pytest.fixture
def begun(context: Any) -> Any:
    return context.Semaphore(0)


@pytest.fixture
def go_on(context: Any) -> Any:
    return context.Semaphore(0)


@pytest.fixture
def pool(context: Any, begun: Any, go_on: Any) -> Iterator[Any]:
    with context.Pool(1, initializer=Answers.begin, initargs=(begun, go_on)) as made:
        yield made
        made.terminate()
        made.join()


@pytest.mark.parametrize("value", [1, -1])
def test_a_pools_result_polls_readable_from_its_end_on(pool: Any, go_on: Any, value: int) -> None:
    result = pool.apply_async(answer, [value])
    check_levels(result, go_on.release, lambda: None, times=1)
    assert result.ready()
    assert result.successful() == (value > 0)
    assert select.select([result, pool.map_async(abs, [])], [], [], 0)[0][0] is result


def test_a_result_that_is_there_polls_readable_at_once(pool: Any) -> None:
    result = pool.apply_async(abs, [-1])
    result.wait()
    for one in (result, pool.map_async(abs, []), pool.imap(abs, [])):
        assert select.select([one], [], [], 0)[0] == [one]


def test_a_map_result_polls_readable_when_all_of_it_is_there(pool: Any, go_on: Any) -> None:
    result = pool.map_async(answer, [1, 2], 1)
    go_on.release()
    assert wait([result], 0.05) == []
    check_levels(result, go_on.release, lambda: None, times=1)


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_an_iterator_of_results_polls_readable_while_next_need_not_wait(pool: Any, go_on: Any, method: str) -> None:
    results = getattr(pool, method)(answer, [1, -1, 2, 3])
    taken: list[int] = []

    def take() -> None:
        try:
            taken.append(results.next(timeout=0))
        except ValueError as error:
            taken.append(error.args[0])
        with pytest.raises(shoal.TimeoutError):
            results.next(timeout=0)

    check_levels(results, go_on.release, take, times=3)
    go_on.release()
    assert wait([results], PATIENCE) == [results]
    assert next(results) == 3
    for _ in range(2):
        assert wait([results], 0) == [results]
        with pytest.raises(StopIteration):
            results.next(timeout=0)
    assert taken == [1, -1, 2]


@pytest.mark.parametrize("end", ["cancel", "kill", "terminate"])
@pytest.mark.parametrize("method", ["apply_async", "map_async", "imap"])
def test_however_a_call_ends_its_descriptor_polls_readable(pool: Any, begun: Any, method: str, end: str) -> None:
    call = getattr(pool, method)(answer, [1])
    ends = {
        "cancel": call.cancel,
        "kill": lambda: os.kill(pool._pool[0].pid, 9),
        "terminate": pool.terminate,
    }
    assert wait([call], 0) == []
    assert begun.acquire(timeout=PATIENCE)
    check_levels(call, ends[end], lambda: None, times=1)


def test_a_fork_neither_has_the_descriptor_of_a_result_nor_disturbs_it(pool: Any, go_on: Any) -> None:
    results = pool.imap(answer, [1, 2])
    unpolled = pool.apply_async(answer, [3])
    assert wait([results], 0) == []
    go_on.release()
    assert wait([results], PATIENCE) == [results]
    child = shoal.get_context("fork").Process(target=refuse_to_poll, args=(results, unpolled))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert wait([results], 0) == [results]
    assert next(results) == 1
    assert wait([results], 0) == []


def refuse_to_poll(results: Any, unpolled: Any) -> None:
    assert next(results) == 1  # the child's copy
    for one in (results, unpolled):
        with pytest.raises(RuntimeError, match="another process"):
            one.fileno()


def test_the_descriptor_of_a_result_is_made_when_asked_for_and_closed_with_it(
    pool: Any, go_on: Any, eventually: Callable[..., None]
) -> None:
    pool.apply(abs, [1])
    before = len(os.listdir("/proc/self/fd"))
    results = [pool.apply_async(answer, [1]) for _ in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len({result.fileno() for result in results} | {result.fileno() for result in results}) == 10
    assert len(os.listdir("/proc/self/fd")) == before + 10
    for _ in range(10):
        go_on.release()
    while results:
        ready = wait(results, PATIENCE)
        assert ready
        results = [result for result in results if result not in ready]
    del ready
    eventually(lambda: len(os.listdir("/proc/self/fd")) == before)

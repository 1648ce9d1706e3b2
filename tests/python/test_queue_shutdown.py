"""The end of a queue: shutdown, ShutDown, and iteration that ends with it."""

from __future__ import annotations

import queue
import select
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal


@pytest.fixture(params=["Queue", "SimpleQueue", "JoinableQueue"])
def any_queue(request: pytest.FixtureRequest) -> Any:
    """The test runs once with each kind of queue."""
    return getattr(shoal, request.param)()


def outcome_in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start the call in a thread; its result, or what it raised, will be in the list."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_puts_fail_and_gets_drain(any_queue: Any) -> None:
    any_queue.put(1)
    any_queue.put(2)
    assert not any_queue.is_shutdown
    any_queue.shutdown()
    assert any_queue.is_shutdown
    for put in (any_queue.put, any_queue.put_nowait, lambda item: any_queue.put_many([item])):
        with pytest.raises(shoal.ShutDown, match="takes no more items"):
            put(3)
    assert any_queue.get() == 1
    assert any_queue.get_many(5) == [2]
    for get in (any_queue.get, any_queue.get_nowait, lambda: any_queue.get_many(5, timeout=0)):
        with pytest.raises(shoal.ShutDown, match="no item is left"):
            get()


def test_immediate_shutdown_drops_the_items(any_queue: Any) -> None:
    any_queue.put_many(range(1000))
    any_queue.shutdown(immediate=True)
    assert any_queue.qsize() == 0
    with pytest.raises(shoal.ShutDown):
        any_queue.get()


def test_a_queue_may_be_shut_down_again(any_queue: Any) -> None:
    any_queue.put(1)
    any_queue.shutdown()
    any_queue.shutdown()
    assert any_queue.qsize() == 1
    any_queue.shutdown(True)
    assert any_queue.empty()


def test_an_interrupted_put_many_says_how_many_are_in() -> None:
    q: shoal.Queue[int] = shoal.Queue(2)
    thread, outcome = outcome_in_thread(lambda: q.put_many(range(5)))
    assert q.get(timeout=30) == 0
    q.shutdown()
    thread.join()
    assert isinstance(outcome[0], shoal.ShutDown)
    assert outcome[0].put_count - 1 == q.qsize()  # type: ignore[attr-defined]


@pytest.mark.parametrize("immediate", [False, True])
def test_whoever_waits_is_woken(immediate: bool) -> None:
    empty: shoal.Queue[int] = shoal.Queue()
    full: shoal.Queue[int] = shoal.Queue(1)
    full.put(1)
    waiting = [
        outcome_in_thread(call)
        for call in (empty.get, lambda: empty.get_many(3), lambda: empty.get(lease=True), lambda: full.put(2))
    ]
    empty.shutdown(immediate)
    full.shutdown(immediate)
    for thread, outcome in waiting:
        thread.join(30)
        assert isinstance(outcome[0], shoal.ShutDown)


def test_other_processes_are_told(context: Any) -> None:
    q, results = context.Queue(), context.Queue()
    child = context.Process(target=report_end, args=(q, results))
    child.start()
    q.put("item")
    assert results.get(timeout=30) == "item"
    q.shutdown()
    assert results.get(timeout=30) == "ShutDown"
    child.join()
    with pytest.raises(shoal.ShutDown):
        q.put(1)


def report_end(q: Any, results: Any) -> None:
    try:
        while True:
            results.put(q.get())
    except shoal.ShutDown as end:
        results.put(type(end).__name__)


def test_close_is_about_this_handle_and_shutdown_about_the_queue() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.close()
    assert not q.is_shutdown
    q.shutdown()
    with pytest.raises(ValueError, match="is closed"):
        q.get()


def test_the_exception_is_that_of_module_queue_where_there_is_one() -> None:
    assert issubclass(shoal.ShutDown, Exception)
    assert shoal.ShutDown.__name__ == "ShutDown"
    if sys.version_info >= (3, 13):
        assert shoal.ShutDown is queue.ShutDown
    else:
        assert shoal.ShutDown.__module__ == "shoal.errors"


def test_iteration_takes_items_until_the_end(any_queue: Any) -> None:
    any_queue.put_many(range(5))
    iterator = iter(any_queue)
    assert next(iterator) == 0
    any_queue.shutdown()
    assert list(iterator) == [1, 2, 3, 4]
    assert list(any_queue) == []


def test_iteration_waits_for_items(context: Any) -> None:
    numbers, squares = context.Queue(2), context.Queue()
    child = context.Process(target=square_each, args=(numbers, squares))
    child.start()
    for number in range(50):
        numbers.put(number, timeout=30)
    numbers.shutdown()
    assert list(squares) == [number * number for number in range(50)]
    child.join()
    assert child.exitcode == 0


def square_each(numbers: Any, squares: Any) -> None:
    for number in numbers:
        squares.put(number * number)
    squares.shutdown()


def test_iteration_of_a_closed_handle_is_refused() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        next(q)


def test_items_that_are_equal_to_none_do_not_end_iteration() -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    q.put_many([None, False, 0, StopIteration()])
    q.shutdown()
    received = list(q)
    assert received[:3] == [None, False, 0]
    assert isinstance(received[3], StopIteration)


def test_descriptors_poll_readable_after_the_end() -> None:
    q: shoal.Queue[int] = shoal.Queue(1)
    poll = select.poll()
    poll.register(q.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    q.shutdown()
    assert poll.poll(30_000)
    assert q._reader.poll(None)

    full: shoal.Queue[int] = shoal.Queue(1)
    full.put(1)
    room = select.poll()
    room.register(full.room_fileno(), select.POLLIN)
    assert room.poll(0) == []
    full.shutdown()
    assert room.poll(30_000)


def test_a_killed_process_in_shutdown_leaves_a_queue_that_can_be_shut_down(context: Any) -> None:
    q, ready = context.Queue(), context.Event()
    child = context.Process(target=shut_down_and_idle, args=(q, ready))
    child.start()
    assert ready.wait(30)
    child.kill()
    child.join()
    with pytest.raises(shoal.ShutDown):
        q.put(1)
    q.shutdown(immediate=True)
    assert q.empty()


def shut_down_and_idle(q: Any, ready: Any) -> None:
    q.put_many(range(100))
    q.shutdown()
    ready.set()
    threading.Event().wait()

"""put_many and get_many."""

from __future__ import annotations

import itertools
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import shoal
from shoal import _core


class NotPicklable:
    def __reduce__(self) -> Any:
        raise TypeError("a NotPicklable cannot be pickled")


class NotUnpicklable:
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise ArithmeticError("this does not come back")


def drain(q: Any) -> list[Any]:
    taken: list[Any] = []
    while items := q.get_many(1000, timeout=0):
        taken += items
    return taken


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
def test_many_items_come_out_as_they_went_in(count: int) -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    q.put_many(range(count))
    assert q.qsize() == count
    assert drain(q) == list(range(count))
    assert q.empty()


def test_batches_and_single_items_keep_one_order() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.put(0)
    q.put_many([1, 2, 3])
    q.put(4)
    assert q.get() == 0
    assert q.get_many(2) == [1, 2]
    assert q.get() == 3
    assert q.get_many(10) == [4]


@pytest.mark.parametrize("sizes", [[10, 40_000, 10], [3_000_000, 1], [200_000] * 5, [31_000] * 40, [2_000] * 300])
def test_large_and_small_items_mix(sizes: list[int]) -> None:
    items = [bytes([index % 256]) * size for index, size in enumerate(sizes)]
    q: shoal.Queue[bytes] = shoal.Queue()
    q.put_many(items)
    assert drain(q) == items


def test_all_kinds_of_objects_travel_in_batches() -> None:
    items: list[Any] = [1, "two", 3.0, None, {4, 5}, [6, (7,)], {"eight": b"9"}, 1 << 70, complex(1, 2)]
    q: shoal.Queue[Any] = shoal.Queue()
    q.put_many(items)
    assert q.get_many(100) == items


def test_get_many_takes_no_more_than_asked_for_and_no_less_than_is_there() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.put_many(range(1000))
    assert q.get_many(1) == [0]
    assert q.get_many(600) == list(range(1, 601))
    assert q.get_many(10_000) == list(range(601, 1000))


def test_get_many_waits_only_for_the_first() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    timer = threading.Timer(0.05, q.put, (1,))
    timer.start()
    assert q.get_many(5) == [1]
    timer.join()


def test_get_many_returns_an_empty_list_if_nothing_comes() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    assert q.get_many(5, timeout=0) == []
    started = time.monotonic()
    assert q.get_many(5, 0.05) == []
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("wrong", [0, -1])
def test_get_many_of_less_than_one_is_refused(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"max_items is {wrong}"):
        shoal.Queue().get_many(wrong)


def test_arguments_of_the_batch_forms_are_checked() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.put_many(iterable=[1], block=True, timeout=1)
    assert q.get_many(max_items=2, timeout=1) == [1]
    with pytest.raises(TypeError, match="iterable"):
        q.put_many()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        q.put_many(7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_items"):
        q.get_many()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        q.get_many("7")  # type: ignore[arg-type]
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        q.put_many([1])
    with pytest.raises(ValueError, match="is closed"):
        q.get_many(1)


def test_put_many_on_a_full_queue_says_how_many_are_in() -> None:
    q: shoal.Queue[int] = shoal.Queue(10)
    with pytest.raises(queue.Full) as full:
        q.put_many(range(25), block=False)
    assert full.value.put_count == 10  # type: ignore[attr-defined]
    assert drain(q) == list(range(10))
    q.put_many(range(7))
    started = time.monotonic()
    with pytest.raises(queue.Full) as full:
        q.put_many(range(7, 20), timeout=0.05)
    assert time.monotonic() - started >= 0.05
    assert full.value.put_count == 3  # type: ignore[attr-defined]
    assert drain(q) == list(range(10))


def test_put_many_waits_for_room_for_the_rest() -> None:
    q: shoal.Queue[int] = shoal.Queue(3)
    received: list[int] = []

    def receive() -> None:
        while len(received) < 1000:
            received.extend(q.get_many(7, timeout=30))

    receiver = threading.Thread(target=receive)
    receiver.start()
    q.put_many(range(1000))
    receiver.join()
    assert received == list(range(1000))


def test_an_endless_iterable_is_sent_while_it_is_read(context: Any) -> None:
    q = context.Queue(maxsize=5)
    child = context.Process(target=put_for_ever, args=(q,))
    child.start()
    received: list[int] = []
    while len(received) < 2000:
        received += q.get_many(100, timeout=30)
    child.kill()
    child.join()
    assert received == list(range(len(received)))


def put_for_ever(q: Any) -> None:
    q.put_many(itertools.count())


@pytest.mark.parametrize("bad_at", [0, 1, 300])
def test_what_comes_before_an_item_that_fails_is_put(bad_at: int) -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    items: list[Any] = list(range(600))
    items[bad_at] = NotPicklable()
    with pytest.raises(TypeError, match="NotPicklable") as refused:
        q.put_many(items)
    assert refused.value.put_count == bad_at  # type: ignore[attr-defined]
    assert drain(q) == items[:bad_at]


def test_an_iterable_that_raises_ends_put_many() -> None:
    def numbers() -> Iterator[int]:
        yield from range(300)
        raise LookupError("no more numbers")

    q: shoal.Queue[int] = shoal.Queue()
    with pytest.raises(LookupError, match="no more numbers") as ended:
        q.put_many(numbers())
    assert ended.value.put_count == 300  # type: ignore[attr-defined]
    assert drain(q) == list(range(300))


def test_an_iterable_may_use_the_queue_itself() -> None:
    q: shoal.Queue[str] = shoal.Queue()

    def items() -> Iterator[str]:
        yield "first"
        q.put("put by the iterable")
        q.put_many(["and a batch", "of two"])
        yield "second"

    q.put_many(items())
    assert drain(q) == ["put by the iterable", "and a batch", "of two", "first", "second"]


def test_an_item_that_cannot_be_unpickled_does_not_take_others_with_it() -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    q.put_many([1, 2, NotUnpicklable(), 3])
    with pytest.raises(ArithmeticError, match="does not come back") as failed:
        q.get_many(10)
    assert failed.value.items == [1, 2, 3]  # type: ignore[attr-defined]
    assert q.empty()


def test_put_many_without_memory_left_says_how_many_are_in() -> None:
    q: Any = _core.Queue(memory_limit=4_000_000)
    with pytest.raises(MemoryError) as out:
        q.put_many(bytes(20_000) for _ in range(1000))
    assert 10 < out.value.put_count < 1000  # type: ignore[attr-defined]
    assert q.qsize() == out.value.put_count  # type: ignore[attr-defined]
    assert q.get_many(5) == [bytes(20_000)] * 5


def test_waiting_batch_forms_run_signal_handlers() -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def handle(number: int, frame: Any) -> None:
        raise Enough

    full: shoal.Queue[int] = shoal.Queue(2)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Enough):
            shoal.Queue().get_many(5)
        timer.join()
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Enough) as enough:
            full.put_many(range(5))
        timer.join()
        assert enough.value.put_count == 2  # type: ignore[attr-defined]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_two_producers_and_two_consumers_share_batches(context: Any) -> None:
    q, results = context.Queue(100), context.Queue()
    producers = [context.Process(target=put_range, args=(q, start)) for start in (0, 10_000)]
    consumers = [context.Process(target=sort_all, args=(q, results)) for _ in range(2)]
    for process in (*producers, *consumers):
        process.start()
    for process in producers:
        process.join()
    q.shutdown()
    received = results.get(timeout=30) + results.get(timeout=30)
    for process in consumers:
        process.join()
    assert sorted(received) == sorted([*range(3000), *range(10_000, 13_000)])


def put_range(q: Any, start: int) -> None:
    q.put_many(range(start, start + 3000))


def sort_all(q: Any, results: Any) -> None:
    received: list[int] = []
    try:
        while True:
            received += q.get_many(50)
    except shoal.ShutDown:
        results.put(received)

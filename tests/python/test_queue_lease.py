"""Items taken on lease: acknowledged, given back, or coming back by themselves."""

from __future__ import annotations

import contextlib
import gc
import os
import queue
import signal
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import shoal


class Item:
    """Something that can refer to its lease."""

    lease: Any = None


class NotUnpicklable:
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise ArithmeticError("this does not come back")


def numbers(count: int) -> shoal.Queue[int]:
    q: shoal.Queue[int] = shoal.Queue()
    q.put_many(range(count))
    return q


def test_an_acknowledged_item_is_gone() -> None:
    q = numbers(2)
    lease = q.get(lease=True)
    assert isinstance(lease, shoal.Lease)
    assert lease.item == 0
    assert lease.active
    assert q.qsize() == 1
    lease.acknowledge()
    assert not lease.active
    del lease
    assert q.get() == 1
    assert q.empty()


def test_an_item_that_is_given_back_is_first_in_line() -> None:
    q = numbers(3)
    first, second = q.get(lease=True), q.get(lease=True)
    second.give_back()
    first.give_back()
    assert not first.active
    assert [q.get(), q.get(), q.get()] == [0, 1, 2]


def test_a_lease_ends_once() -> None:
    q = numbers(2)
    done, back = q.get(lease=True), q.get(lease=True)
    done.acknowledge()
    back.give_back()
    for lease in (done, back):
        for end in (lease.acknowledge, lease.give_back):
            with pytest.raises(ValueError, match="this lease has ended"):
                end()
    assert q.qsize() == 1


def test_a_block_that_ends_acknowledges() -> None:
    q = numbers(1)
    with q.get(lease=True) as lease:
        assert lease.item == 0
    assert not lease.active
    assert q.empty()


def test_a_block_that_raises_gives_back() -> None:
    q = numbers(1)
    with pytest.raises(LookupError), q.get(lease=True) as lease:
        raise LookupError
    assert not lease.active
    assert q.get_nowait() == 0


def test_a_lease_may_end_within_its_block() -> None:
    q = numbers(2)
    with q.get(lease=True) as lease:
        lease.give_back()
    with contextlib.suppress(LookupError), q.get(lease=True) as lease:
        lease.acknowledge()
        raise LookupError
    assert q.get_many(5) == [1]


def test_a_dropped_lease_gives_back() -> None:
    q = numbers(1)
    q.get(lease=True)
    assert q.qsize() == 1
    lease = q.get(lease=True)
    assert q.empty()
    del lease
    assert q.get_nowait() == 0


def test_a_lease_that_its_item_leads_back_to_is_collected() -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    q.put(Item())
    lease = q.get(lease=True)
    lease.item.lease = lease
    gone = weakref.ref(lease)
    del lease
    gc.collect()
    assert gone() is None
    assert q.qsize() == 1


def test_a_lease_outlives_the_handle_of_its_queue() -> None:
    q = numbers(1)
    other = shoal.Queue.__new__(shoal.Queue)
    shoal._core.Queue.__init__(other, descriptors=q.descriptors())
    lease = other.get(lease=True)
    del other
    lease.give_back()
    assert q.get_nowait() == 0


def test_get_on_lease_waits_and_gives_up_as_get_does() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    with pytest.raises(queue.Empty):
        q.get(False, lease=True)
    started = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.05, lease=True)
    assert time.monotonic() - started >= 0.05
    q.put(1)
    assert q.get(lease=False) == 1
    q.shutdown()
    with pytest.raises(shoal.ShutDown):
        q.get(lease=True)


def test_an_item_that_cannot_be_unpickled_does_not_come_back_for_ever() -> None:
    q: shoal.Queue[Any] = shoal.Queue()
    q.put_many([NotUnpicklable(), "next"])
    with pytest.raises(ArithmeticError, match="does not come back"):
        q.get(lease=True)
    assert q.get_many(5) == ["next"]


@pytest.mark.parametrize("size", [10, 100_000, 5_000_000])
def test_items_of_any_size_come_back(size: int) -> None:
    q: shoal.Queue[bytes] = shoal.Queue()
    q.put(bytes(range(10)) * (size // 10))
    lease = q.get(lease=True)
    item = lease.item
    del lease
    again = q.get(lease=True)
    assert again.item == item
    again.acknowledge()
    assert q.empty()


def test_the_item_of_a_killed_process_comes_back(context: Any, eventually: Callable[..., None]) -> None:
    q, ready = context.Queue(), context.Event()
    q.put_many(range(3))
    holder = context.Process(target=hold, args=(q, ready))
    holder.start()
    assert ready.wait(30)
    assert q.qsize() == 1
    holder.kill()
    holder.join()
    assert [q.get(timeout=30), q.get(timeout=30)] == [0, 2]
    assert q.empty()


def hold(q: Any, ready: Any) -> None:
    kept = q.get(lease=True)
    q.get(lease=True).acknowledge()
    ready.set()
    signal.pause()
    del kept


def test_the_item_of_a_process_that_ends_comes_back() -> None:
    q = numbers(1)
    child = shoal.get_context("fork").Process(target=end_with_lease, args=(q,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert q.get(timeout=30) == 0


def end_with_lease(q: Any) -> None:
    q.get(lease=True)
    os._exit(0)


def test_a_forked_child_does_not_end_its_parents_lease() -> None:
    q = numbers(1)
    lease = q.get(lease=True)
    child = shoal.get_context("fork").Process(target=try_to_end, args=(lease,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert q.empty()
    assert lease.active
    lease.give_back()
    assert q.get_nowait() == 0


def try_to_end(lease: Any) -> None:
    with pytest.raises(ValueError, match=r"this lease has ended"):
        lease.acknowledge()
    del lease
    gc.collect()


def test_work_on_lease_is_done_exactly_once_though_workers_are_killed(eventually: Callable[..., None]) -> None:
    q, done = shoal.Queue(), shoal.Queue()
    fork = shoal.get_context("fork")
    q.put_many(range(300))
    for _ in range(20):
        worker = fork.Process(target=do_all, args=(q, done))
        before = done.qsize()
        worker.start()
        eventually(lambda before=before: done.qsize() > before or q.empty())
        worker.kill()
        worker.join()
    last = fork.Process(target=do_all, args=(q, done))
    last.start()
    q.shutdown()
    last.join()
    assert last.exitcode == 0
    results = done.get_many(1000)
    # A worker can be killed between its result and its acknowledgement: then the item is done again, but never lost.
    assert set(results) == set(range(300))
    assert len(results) <= 300 + 20


def do_all(q: Any, done: Any) -> None:
    try:
        while True:
            with q.get(lease=True) as lease:
                done.put(lease.item)
    except shoal.ShutDown:
        pass


def test_lease_can_be_subscripted_for_annotations() -> None:
    assert shoal.Lease[int].__origin__ is shoal.Lease

"""Waiting for queues in event loops: their descriptors, and multiprocessing's two ends of a queue."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import select
import threading
from typing import Any

import pytest
import shoal


def test_a_queue_polls_readable_while_it_is_not_empty() -> None:
    polled = shoal.Queue()
    poll = select.poll()
    poll.register(polled.fileno(), select.POLLIN)
    assert not poll.poll(0)
    polled.put(1)
    polled.put(2)
    assert poll.poll(0)
    polled.get()
    assert poll.poll(0)
    polled.get()
    assert not poll.poll(0)


def test_the_reader_end_can_be_waited_for_like_a_connection() -> None:
    waited = shoal.Queue()
    reader = waited._reader
    assert not reader.poll()
    assert not reader.poll(0.01)
    assert shoal.connection.wait([reader], timeout=0) == []
    waited.put("item")
    assert shoal.connection.wait([reader], timeout=30) == [reader]
    assert reader.poll(30)
    assert reader.recv() == "item"


@pytest.mark.parametrize(("bound", "item"), [({"maxsize": 2}, 1), ({"maxbytes": 1_000}, bytes(500))])
def test_a_bounded_queue_polls_for_room_while_it_is_not_full(bound: dict[str, int], item: Any) -> None:
    polled = shoal.Queue(**bound)
    poll = select.poll()
    poll.register(polled.room_fileno(), select.POLLIN)
    assert poll.poll(0)
    polled.put(item)
    assert poll.poll(0)
    polled.put(item)
    # It may poll readable for nothing, but no longer than until somebody has looked.
    with pytest.raises(queue.Full):
        polled.put_nowait(item)
    assert not poll.poll(0)
    polled.get()
    assert poll.poll(0)


def test_a_queue_without_a_bound_has_no_descriptor_for_room() -> None:
    with pytest.raises(io.UnsupportedOperation, match="always room"):
        shoal.Queue().room_fileno()
    with pytest.raises(OSError, match="always room"):
        shoal.Queue()._writer.fileno()


def test_descriptors_of_both_directions_wake_other_processes(context: Any) -> None:
    q = context.Queue(1)
    child = context.Process(target=put_when_polled, args=(q,))
    child.start()
    poll = select.epoll()
    poll.register(q.fileno(), select.EPOLLIN)
    received: list[int] = []
    while len(received) < 200:
        assert poll.poll(30)
        with contextlib.suppress(queue.Empty):
            received.append(q.get_nowait())
    assert received == list(range(200))
    child.join()
    assert child.exitcode == 0


def put_when_polled(q: Any) -> None:
    room = select.poll()
    room.register(q.room_fileno(), select.POLLIN)
    number = 0
    while number < 200:
        assert room.poll(30_000)
        with contextlib.suppress(queue.Full):
            q.put_nowait(number)
            number += 1


def test_descriptors_are_the_same_at_every_call() -> None:
    polled = shoal.Queue(1)
    assert polled.fileno() == polled._reader.fileno() == polled.descriptors()[1]
    assert polled.room_fileno() == polled._writer.fileno() == polled.descriptors()[2]
    assert len(shoal.Queue().descriptors()) == 2


def test_a_queue_that_was_never_polled_takes_one_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    used = [shoal.Queue(5) for _ in range(10)]
    for q in used:
        q.put(1)
        q.get()
    assert len(os.listdir("/proc/self/fd")) == before + 10


def test_poll_of_the_reader_end_waits(context: Any) -> None:
    q = context.Queue()
    timer = threading.Timer(0.05, q.put, ("item",))
    timer.start()
    assert q._reader.poll(None)
    assert q.get_nowait() == "item"
    timer.join()


def test_the_ends_carry_items_like_connections() -> None:
    q: Any = shoal.SimpleQueue()
    q._writer.send({"a": 1})
    assert q._reader.recv() == {"a": 1}
    left, right = shoal.Pipe()
    left.send({1, 2})
    q._writer.send_bytes(right.recv_bytes())
    left.send_bytes(q._reader.recv_bytes())
    assert right.recv() == {1, 2}


def test_an_end_knows_whether_it_was_closed() -> None:
    q: Any = shoal.Queue()
    assert not q._reader.closed
    q._reader.close()
    assert q._reader.closed
    assert not q._writer.closed
    q.close()
    assert q._writer.closed


def test_a_subclass_may_wrap_the_ends() -> None:
    class Wrapped(shoal.Queue[Any]):
        def __init__(self) -> None:
            super().__init__()
            self._reader = [self._reader]

    assert Wrapped()._reader[0].fileno() > 0


def test_pollers_on_one_processor_let_each_other_work() -> None:
    # Whoever finds the other one inside a lock must not look again and again until its time slice is over.
    q = shoal.Queue(1)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        child = shoal.get_context("fork").Process(target=put_when_polled, args=(q,))
        child.start()
        poll = select.epoll()
        poll.register(q.fileno(), select.EPOLLIN)
        received, looks = 0, 0
        while received < 200:
            assert poll.poll(30)
            looks += 1
            with contextlib.suppress(queue.Empty):
                q.get_nowait()
                received += 1
        child.join()
    finally:
        os.sched_setaffinity(0, before)
    assert looks < 200 * 20

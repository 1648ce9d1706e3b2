"""Queues, locks and events that are sent to processes which exist already."""

from __future__ import annotations

import select
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

import pytest
import shoal
from fork_support import in_fork, open_descriptors

PATIENCE = 30.0


def pass_on(connection: Connection) -> None:
    inbox, outbox = connection.recv()
    outbox.put(("passed on", inbox.get(timeout=PATIENCE)))
    connection.recv()


def send_own_queue(through: Any, received: Any) -> None:
    own = shoal.Queue(2)
    own.put("from the maker")
    through.put(own)
    assert received.wait(PATIENCE)


def receive_queue(through: Any, received: Any, answers: Any) -> None:
    queue = through.get(timeout=PATIENCE)
    received.set()
    answers.put((queue._maxsize, queue.get(timeout=PATIENCE)))


def put_into_all(queues: list[Any]) -> None:
    for number, queue in enumerate(queues):
        queue.put(number)


def test_a_queue_goes_through_a_pipe_to_a_running_child(context: Any) -> None:
    here, there = context.Pipe()
    child = context.Process(target=pass_on, args=(there,))
    child.start()
    inbox, outbox = context.Queue(), context.SimpleQueue()
    inbox.put("an item that was there before")
    here.send((inbox, outbox))
    assert outbox.get() == ("passed on", "an item that was there before")
    here.send("done")
    child.join()
    assert child.exitcode == 0


def test_a_queue_goes_through_a_queue_to_a_sibling(context: Any) -> None:
    through, answers, received = context.Queue(), context.Queue(), context.Event()
    maker = context.Process(target=send_own_queue, args=(through, received))
    sibling = context.Process(target=receive_queue, args=(through, received, answers))
    maker.start()
    sibling.start()
    assert answers.get(timeout=PATIENCE) == (2, "from the maker")
    maker.join()
    sibling.join()
    assert (maker.exitcode, sibling.exitcode) == (0, 0)


def test_a_queue_goes_to_an_unrelated_program(tmp_path: Path, program: Callable[..., Path]) -> None:
    stranger = program("""
        import multiprocessing, sys
        from multiprocessing.connection import Client
        multiprocessing.current_process().authkey = b"its own"
        with Client(sys.argv[1], authkey=b"agreed upon") as connection:
            inbox, outbox, lock = connection.recv()
            assert not lock.acquire(block=False)
            outbox.put([inbox.get(timeout=30), {"from": "the stranger"}])
            connection.recv()
    """)
    address = str(tmp_path / "socket")
    inbox, outbox, lock = shoal.Queue(), shoal.Queue(), shoal.Lock()
    inbox.put("for the stranger")
    lock.acquire()
    with Listener(address, authkey=b"agreed upon") as listener:
        process = subprocess.Popen([sys.executable, str(stranger), address])
        with listener.accept() as connection:
            connection.send((inbox, outbox, lock))
            assert outbox.get(timeout=PATIENCE) == ["for the stranger", {"from": "the stranger"}]
            connection.send("done")
    assert process.wait(PATIENCE) == 0


def test_a_queue_can_be_put_into_itself() -> None:
    queue = shoal.Queue()
    queue.put(queue)
    same = queue.get(timeout=PATIENCE)
    assert same is not queue
    same.put("through the copy")
    assert queue.get(timeout=PATIENCE) == "through the copy"


@pytest.mark.parametrize("make", [shoal.Queue, shoal.SimpleQueue, shoal.JoinableQueue])
def test_queues_of_all_kinds_keep_kind_and_contents(make: Callable[[], Any]) -> None:
    through = shoal.Queue()
    queue = make()
    queue.put("contents")
    through.put([queue, {"again": queue}])
    received, container = through.get(timeout=PATIENCE)
    assert container["again"] is received
    assert type(received) is type(queue)
    assert received.get() == "contents"


def test_a_bounded_queue_stays_bounded() -> None:
    through = shoal.Queue()
    queue = shoal.Queue(maxsize=1)
    through.put(queue)
    received = through.get(timeout=PATIENCE)
    received.put("only one")
    assert queue.full()
    with pytest.raises(shoal.queues.Full):
        received.put_nowait("too many")


def test_an_item_wakes_a_poller_at_the_other_end_of_the_journey() -> None:
    through, queue = shoal.Queue(), shoal.Queue()
    through.put(queue)

    def put_into_received() -> str:
        received = through.get(timeout=PATIENCE)
        received.put("wake up")
        return "put"

    poll = select.poll()
    poll.register(queue.fileno(), select.POLLIN)
    assert in_fork(put_into_received) == "put"
    assert poll.poll(PATIENCE * 1000)
    assert queue.get() == "wake up"


def wait_for_event_under_lock(connection: Connection) -> None:
    lock, event = connection.recv()
    with lock:
        connection.send(event.wait(PATIENCE))


def test_locks_and_events_travel(context: Any) -> None:
    here, there = context.Pipe()
    child = context.Process(target=wait_for_event_under_lock, args=(there,))
    child.start()
    lock, event = context.Lock(), context.Event()
    lock.acquire()
    here.send((lock, event))
    event.set()
    assert not here.poll(0.05)
    lock.release()
    assert here.recv() is True
    child.join()


def test_many_locks_travel_with_the_few_descriptors_of_their_arenas() -> None:
    through = shoal.Queue()
    locks = [shoal.Lock() for _ in range(300)]
    locks[123].acquire()
    through.put(locks)
    before = len(open_descriptors())
    received = through.get(timeout=PATIENCE)
    # Their arena, or two if they lie where one ends; and the queue's owner of its first large record.
    assert len(open_descriptors()) <= before + 3
    assert [index for index, lock in enumerate(received) if not lock.acquire(block=False)] == [123]


def test_a_pool_task_may_have_a_queue_as_argument(context: Any) -> None:
    queue = context.Queue()
    with context.Pool(1) as pool:
        pool.apply(put_into_all, ([queue],))
    assert queue.get(timeout=PATIENCE) == 0


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_more_queues_than_a_start_method_takes_descriptors(method: str) -> None:
    context = shoal.get_context(method)
    queues = [context.Queue() for _ in range(300)]
    child = context.Process(target=put_into_all, args=(queues,))
    child.start()
    assert [queue.get(timeout=PATIENCE) for queue in queues] == list(range(300))
    child.join()

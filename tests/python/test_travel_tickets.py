"""How long what was pickled can be unpickled, by whom, and what that costs."""

from __future__ import annotations

import errno
import gc
import io
import os
import pickle
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shoal
from fork_support import in_fork, open_descriptors
from shoal._sharing import duplicated_all

PATIENCE = 30.0
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


# --- How long a ticket is good for ------------------------------------------------------------------------------------


def test_the_sender_may_drop_its_handle_at_once() -> None:
    through = shoal.Queue()
    sent = shoal.Queue()
    sent.put("still there")
    through.put(sent)
    del sent
    gc.collect()
    assert through.get(timeout=PATIENCE).get(timeout=PATIENCE) == "still there"


def test_a_pickle_is_good_for_many_receivers_while_the_sender_keeps_the_queue() -> None:
    queue = shoal.Queue()
    pickled = pickle.dumps(queue)
    for number in range(3):
        pickle.loads(pickled).put(number)
    assert [queue.get(timeout=PATIENCE) for _ in range(3)] == [0, 1, 2]


def test_a_pickle_is_good_for_one_receiver_once_the_sender_has_dropped_the_queue() -> None:
    queue = shoal.Queue()
    pickled = pickle.dumps(queue)
    del queue
    gc.collect()
    pickle.loads(pickled).put("the first gets it")
    with pytest.raises(ConnectionError, match="has handed out this Queue before"):
        pickle.loads(pickled)


def test_a_queue_in_an_item_that_comes_back_from_a_lease_is_received_again() -> None:
    tasks, answers = shoal.Queue(), shoal.Queue()
    tasks.put(("answer here", answers))

    def answer_and_die() -> None:
        lease = tasks.get(timeout=PATIENCE, lease=True)
        lease.item[1].put("from the first, who died")
        os.kill(os.getpid(), signal.SIGKILL)

    victim = shoal.get_context("fork").Process(target=answer_and_die)
    victim.start()
    assert answers.get(timeout=PATIENCE) == "from the first, who died"
    victim.join()
    _, again = tasks.get(timeout=PATIENCE)
    again.put("from the second")
    assert answers.get(timeout=PATIENCE) == "from the second"


def test_every_pickle_has_its_own_receiver() -> None:
    queue = shoal.Queue()
    pickles = [pickle.dumps(queue) for _ in range(3)]
    del queue
    gc.collect()
    received = [pickle.loads(each) for each in pickles]
    received[0].put("one queue")
    assert received[2].get(timeout=PATIENCE) == "one queue"


def send_and_end(through: Any) -> None:
    through.put(shoal.Queue())


def test_a_sender_that_has_ended_is_an_error_that_says_so_and_not_the_end(context: Any) -> None:
    through = context.Queue()
    child = context.Process(target=send_and_end, args=(through,))
    child.start()
    child.join()
    through.put("the next item")
    with pytest.raises(ConnectionError, match=rf"process {child.pid}, which sent this Queue, has ended"):
        through.get(timeout=PATIENCE)
    assert through.get(timeout=PATIENCE) == "the next item"


def send_and_stop(through: Any) -> None:
    through.put(shoal.Queue())
    os.kill(os.getpid(), signal.SIGSTOP)


def test_a_stopped_sender_is_a_timeout(monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]) -> None:
    monkeypatch.setattr("shoal._tickets._RECEIVER_PATIENCE", 0.3)
    through = shoal.Queue()
    child = shoal.get_context("fork").Process(target=send_and_stop, args=(through,))
    child.start()
    try:
        eventually(lambda: Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=rf"process {child.pid}, .* is it stopped"):
            through.get(timeout=PATIENCE)
        assert 0.3 <= time.monotonic() - began < 10
    finally:
        child.kill()
        child.join()


def test_a_receiver_that_says_nothing_does_not_keep_others_from_theirs() -> None:
    queue = shoal.Queue()
    pickled = pickle.dumps(queue)
    ticket = duplicated_all(queue, queue.descriptors())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(ticket._address)
        pickle.loads(pickled).put("served")
        assert queue.get(timeout=PATIENCE) == "served"


def test_a_wrong_number_gets_nothing() -> None:
    queue = shoal.Queue()
    ticket = duplicated_all(queue, queue.descriptors())
    for wrong in (b"", b"x", os.urandom(24)):
        ticket._number = wrong
        with pytest.raises(ConnectionError):
            ticket.detach()


# --- Users ------------------------------------------------------------------------------------------------------------


@as_root
def test_another_user_gets_nothing() -> None:
    pickled = pickle.dumps(kept := shoal.Queue())

    def receive_as_nobody() -> str:
        os.setuid(NOBODY)
        pickle.loads(pickled)
        return "received"

    answer = in_fork(receive_as_nobody)
    assert answer.startswith("PermissionError"), answer
    assert "was sent by a process of user 0" in answer
    kept.put("and root still has it")


@as_root
def test_root_receives_from_everybody() -> None:
    through, release = shoal.Queue(), shoal.Event()

    def send_as_nobody() -> None:
        os.setuid(NOBODY)
        own = shoal.Queue()
        through.put(own)
        own.put("from nobody")
        release.wait(PATIENCE)

    sender = shoal.get_context("fork").Process(target=send_as_nobody)
    sender.start()
    assert through.get(timeout=PATIENCE).get(timeout=PATIENCE) == "from nobody"
    release.set()
    sender.join()


@as_root
def test_a_stranger_who_takes_the_name_of_an_ended_sender_is_not_believed() -> None:
    through, ready, release = shoal.Queue(), shoal.Event(), shoal.Event()

    def take_the_name(address: bytes) -> None:
        os.setuid(NOBODY)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as impostor:
            impostor.bind(address)
            impostor.listen()
            ready.set()
            release.wait(PATIENCE)

    fork = shoal.get_context("fork")
    sender = fork.Process(target=lambda: through.put(pickle.dumps(shoal.Queue())))
    sender.start()
    sender.join()
    pickled = through.get(timeout=PATIENCE)
    addresses: list[bytes] = []

    class AddressOnly(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if name == "_Ticket":
                return type("Seen", (), {"__setstate__": lambda _, state: addresses.append(state["_address"])})
            if name == "Queue":
                return type("Seen", (), {"__setstate__": lambda *_: None})
            return super().find_class(module, name)

    AddressOnly(io.BytesIO(pickled)).load()
    impostor = fork.Process(target=take_the_name, args=(addresses[0],))
    impostor.start()
    assert ready.wait(PATIENCE)
    with pytest.raises(ConnectionError, match="has ended"):
        pickle.loads(pickled)
    release.set()
    impostor.join()


# --- What it costs ----------------------------------------------------------------------------------------------------


def test_nothing_runs_in_programs_that_send_no_handles(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import shoal, threading\n"
        "queue = shoal.Queue(); queue.put(1); queue.get()\n"
        "print(threading.active_count())\n"
        "queue.put(queue)\n"
        "print(threading.active_count())\n",
    )
    assert ended.out == "1\n2\n", ended


def test_sent_and_received_queues_leave_no_descriptors_behind(eventually: Callable[..., None]) -> None:
    through = shoal.Queue()
    through.put(shoal.Queue())  # the first makes what all use
    through.get(timeout=PATIENCE)
    before = len(open_descriptors())
    for _ in range(100):
        through.put([shoal.Queue(), shoal.Queue(3)])
        through.get(timeout=PATIENCE)
    eventually(lambda: len(open_descriptors()) <= before, "a return to the descriptors of before")


def test_a_queue_sent_often_and_never_received_is_duplicated_once() -> None:
    through, queue = shoal.Queue(), shoal.Queue()
    through.put(queue)
    before = len(open_descriptors())
    for _ in range(1000):
        through.put(("answer to", queue))
    assert len(open_descriptors()) == before


def test_a_forked_child_keeps_nothing_of_what_its_parent_offers() -> None:
    for _ in range(10):
        pickle.dumps(shoal.Queue())
    offered = len(open_descriptors())
    in_child = in_fork(open_descriptors)
    table = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    listening = [f"socket:[{line[6]}]" for line in table if line[-1].startswith("@shoal:handles:")]
    assert listening
    assert not set(listening) & set(in_child)
    assert len(in_child) <= offered - 10


def test_parent_and_child_both_hand_out_what_they_send_themselves() -> None:
    queue = shoal.Queue()
    pickled = pickle.dumps(queue)

    def send_own() -> list[str]:
        own = shoal.Queue()
        own.put("the child's")
        return [pickle.loads(pickle.dumps(each)).get(timeout=PATIENCE) for each in (own, queue)]

    queue.put("the parent's")
    assert in_fork(send_own) == ["the child's", "the parent's"]
    queue.put("by the parent's ticket")
    assert in_fork(lambda: pickle.loads(pickled).get(timeout=PATIENCE)) == "by the parent's ticket"


def test_threads_send_and_receive_at_the_same_time() -> None:
    through = shoal.Queue()
    errors: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(50):
                own = shoal.Queue()
                own.put((name, number))
                through.put(own)
                through.get(timeout=PATIENCE).get(timeout=PATIENCE)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors
    assert through.empty()


def test_signals_never_go_to_the_thread_that_hands_out(run: Callable[..., Any]) -> None:
    # The kernel may give a signal to any thread that does not block it; then the main thread would sleep on.
    ended = run(
        "-c",
        "import os, pickle, shoal, signal\n"
        "before = set(os.listdir('/proc/self/task'))\n"
        "pickle.dumps(shoal.Queue())\n"
        "[new] = set(os.listdir('/proc/self/task')) - before\n"
        "status = dict(line.split(':', 1) for line in open(f'/proc/self/task/{new}/status'))\n"
        "blocked = int(status['SigBlk'], 16)\n"
        "print([name for name in ('SIGINT', 'SIGTERM', 'SIGALRM') if blocked >> (getattr(signal, name) - 1) & 1])\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n",
    )
    assert ended.out == "['SIGINT', 'SIGTERM', 'SIGALRM']\nset()\n", ended


def test_received_descriptors_are_closed_on_exec() -> None:
    queue = shoal.Queue()
    received = duplicated_all(queue, queue.descriptors()).detach()
    assert len(received) == len(queue.descriptors())
    for descriptor in received:
        if descriptor >= 0:
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)


def test_sending_and_receiving_raise_the_soft_limit_of_descriptors() -> None:
    def send_without_descriptors_left() -> bool:
        lock = shoal.Lock()
        lock.acquire()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 256))
        taken = [os.dup(0) for _ in range(64 - len(open_descriptors()))]
        pickled = pickle.dumps(lock)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_descriptors()), 256))
        received = pickle.loads(pickled)
        return bool(taken) and not received.acquire(block=False)

    assert in_fork(send_without_descriptors_left) is True


def test_a_receiver_without_descriptors_left_is_told_so_and_leaks_none() -> None:
    queue = shoal.Queue()
    pickled = pickle.dumps(queue)

    def receive_with_few_descriptors() -> tuple[list[int | None], bool]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        before = len(open_descriptors())
        failed_with = []
        taken = [os.dup(0) for _ in range(256 - before)]
        while taken:
            os.close(taken.pop())
            try:
                pickle.loads(pickled).put("received")
                break
            except OSError as error:
                failed_with.append(error.errno)
        for number in taken:
            os.close(number)
        return failed_with, len(open_descriptors()) == before

    failed_with, nothing_leaked = in_fork(receive_with_few_descriptors)
    assert set(failed_with) == {errno.EMFILE}
    assert len(failed_with) > 1
    assert nothing_leaked
    assert queue.get(timeout=PATIENCE) == "received"

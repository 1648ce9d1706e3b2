"""shoal.debug."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import shoal
import shoal.debug


def info_of(lock: Any, pid: int | None = None) -> shoal.debug.LockInfo:
    """What is told of a lock with a label."""
    (found,) = (info for info in shoal.debug.locks(pid) if info.label == lock.label)
    return found


def hold_one_and_wait_for_the_other(first: Any, second: Any, ready: Any, go: Any) -> None:
    with first:
        ready.put(os.getpid())
        go.wait(30)
        with second:
            pass


def wait_for_it(lock: Any) -> None:
    with lock:
        pass


def test_it_tells_who_holds_a_lock_and_who_waits(eventually: Callable[..., None]) -> None:
    lock = shoal.Lock(label="test: held")
    assert info_of(lock).holder is None
    with lock:
        child = shoal.Process(target=wait_for_it, args=(lock,), name="the waiter")
        child.start()
        eventually(lambda: info_of(lock).waiters)
        info = info_of(lock)
        assert info.kind == "Lock"
        assert info.holder is not None
        assert (info.holder.pid, info.holder.thread) == (os.getpid(), threading.get_native_id())
        assert info.holder.process_name == "MainProcess"
        assert info.holder.alive
        assert info.holder.seconds is not None
        (waiter,) = info.waiters
        assert (waiter.pid, waiter.process_name) == (child.pid, "the waiter")
        text = shoal.debug.describe([info])
        assert "Lock 'test: held'" in text
        assert f"held by process {os.getpid()} (MainProcess)" in text
        assert f"waiting: process {child.pid} (the waiter)" in text
    child.join()
    assert not info_of(lock).in_use


def test_who_waits_for_a_second_shows_where(eventually: Callable[..., None]) -> None:
    lock = shoal.RLock(label="test: stack")
    with lock:
        thread = threading.Thread(target=wait_for_it, args=(lock,))
        thread.start()
        eventually(lambda: any(waiter.stack for waiter in info_of(lock).waiters))
        (waiter,) = info_of(lock).waiters
        assert f'File "{__file__}"' in waiter.stack
        assert waiter.stack.splitlines()[-2].endswith("in wait_for_it")
        assert waiter.stack.splitlines()[-1] == "  with lock:"
        assert waiter.seconds is not None
    thread.join()
    assert info_of(lock).waiters == ()


def test_of_a_deep_stack_the_last_calls_are_shown(eventually: Callable[..., None]) -> None:
    lock = shoal.Lock(label="test: deep")

    def descend(depth: int) -> None:
        if depth == 0:
            wait_for_it(lock)
        else:
            descend(depth - 1)

    with lock:
        thread = threading.Thread(target=descend, args=(200,))
        thread.start()
        eventually(lambda: any(waiter.stack for waiter in info_of(lock).waiters))
        lines = info_of(lock).waiters[0].stack.splitlines()
        assert lines[-2].endswith("in wait_for_it")
        assert lines[0].endswith("in descend")
    thread.join()


def test_it_shows_semaphores_events_conditions_and_barriers(eventually: Callable[..., None]) -> None:
    semaphore, event, condition, barrier = shoal.Semaphore(0), shoal.Event(), shoal.Condition(), shoal.Barrier(2)

    def wait() -> None:
        with condition:
            condition.wait(30)

    threads = [
        threading.Thread(target=target) for target in (semaphore.acquire, event.wait, lambda: barrier.wait(30), wait)
    ]
    for thread in threads:
        thread.start()

    def kinds_waited_for() -> set[str]:
        return {info.kind for info in shoal.debug.locks() if any(waiter.pid == os.getpid() for waiter in info.waiters)}

    eventually(lambda: kinds_waited_for() >= {"Semaphore", "Event", "Condition", "Barrier"})
    at_barrier = [info for info in shoal.debug.locks() if info.kind == "Barrier" and info.waiters]
    assert [(info.value, info.parties, info.broken) for info in at_barrier] == [(1, 2, False)]
    assert "1 of 2 have come" in str(at_barrier[0])
    semaphore.release()
    event.set()
    barrier.wait(30)
    with condition:
        condition.notify()
    for thread in threads:
        thread.join()


def test_a_dead_holder_is_shown_as_such() -> None:
    lock = shoal.Lock(label="test: dead")
    child = shoal.Process(target=lock.acquire)
    child.start()
    child.join()
    holder = info_of(lock).holder
    assert holder is not None
    assert (holder.pid, holder.alive) == (child.pid, False)
    assert "has ended" in str(info_of(lock))
    with pytest.raises(shoal.OwnerDied):
        lock.acquire()
    lock.release()


@contextmanager
def deadlock(context: Any, first: Any, second: Any) -> Iterator[tuple[int, int]]:
    """Two processes each of which holds one of the locks and waits for the other one."""
    ready, go = context.Queue(), context.Event()
    locks = [(first, second), (second, first)]
    children = [context.Process(target=hold_one_and_wait_for_the_other, args=(*pair, ready, go)) for pair in locks]
    for child in children:
        child.start()
    for _ in children:
        ready.get(timeout=30)
    go.set()
    try:
        yield tuple(child.pid for child in children)
    finally:
        for child in children:
            child.kill()
            child.join()


def test_a_circle_of_processes_is_found(context: Any, eventually: Callable[..., None]) -> None:
    first, second = context.Lock(label="test: first"), context.RLock(label="test: second")
    with deadlock(context, first, second) as pids:
        eventually(
            lambda: any(len(cycle) == 2 and all(link.stack for link in cycle) for cycle in shoal.debug.deadlocks())
        )
        (cycle,) = shoal.debug.deadlocks()
        assert {(link.pid, link.label) for link in cycle} == {(pids[0], "test: second"), (pids[1], "test: first")}
        assert {link.holder.pid for link in cycle} == set(pids)
        for link in cycle:
            assert "in hold_one_and_wait_for_the_other" in link.stack
        text = str(cycle)
        assert "Deadlock of 2 threads" in text
        assert "waits for Lock 'test: first', which is held by process" in text
        # Others find it too, by looking at one of them.
        assert len(shoal.debug.deadlocks(pids[0])) == 1
    assert shoal.debug.deadlocks() == []


def test_a_thread_that_waits_for_itself_is_a_circle_of_one(eventually: Callable[..., None]) -> None:
    lock = shoal.Lock(label="test: twice")

    def acquire_twice() -> None:
        lock.acquire()
        lock.acquire()
        lock.release()

    thread = threading.Thread(target=acquire_twice)
    thread.start()
    eventually(lambda: shoal.debug.deadlocks())
    (cycle,) = shoal.debug.deadlocks()
    assert len(cycle) == 1
    assert "which is held by itself" in str(cycle)
    lock.release()
    thread.join()


def test_threads_that_wait_in_a_chain_are_no_deadlock(eventually: Callable[..., None]) -> None:
    lock = shoal.Lock(label="test: chain")
    with lock:
        threads = [threading.Thread(target=wait_for_it, args=(lock,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(info_of(lock).waiters) == 3)
        assert shoal.debug.deadlocks() == []
    for thread in threads:
        thread.join()


def hold(lock: Any, held: Any) -> None:
    with lock:
        held.set()
        while True:
            signal.pause()


def test_a_stopped_process_can_be_looked_at() -> None:
    lock, held = shoal.Lock(label="test: stopped"), shoal.Event()
    child = shoal.Process(target=hold, args=(lock, held))
    child.start()
    assert held.wait(30)
    os.kill(child.pid, signal.SIGSTOP)  # type: ignore[arg-type]
    holder = info_of(lock, child.pid).holder
    assert holder is not None
    assert holder.pid == child.pid
    child.kill()
    child.join()


def test_a_process_that_is_not_there_is_an_error() -> None:
    child = shoal.Process()
    child.start()
    child.join()
    with pytest.raises(FileNotFoundError):
        shoal.debug.locks(child.pid)
    with pytest.raises(FileNotFoundError):
        shoal.debug.deadlocks(child.pid)


def test_the_command_prints_locks_and_deadlocks_in_words(
    run: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    first, second = shoal.Lock(label="test: left"), shoal.Lock(label="test: right")
    with deadlock(shoal.get_context("fork"), first, second) as pids:
        eventually(lambda: shoal.debug.deadlocks())
        ended = run("-m", "shoal.debug", str(pids[0]))
        assert ended.status == 0, ended
        assert "Deadlock of 2 threads:" in ended.out
        assert "Lock 'test: left'\n    held by process" in ended.out
        everything = run("-m", "shoal.debug")
        assert "Lock 'test: left'" in everything.out, everything
    assert run("-m", "shoal.debug", str(pids[0])).status == 1
    assert run("-m", "shoal.debug", "one").status == 2


def test_a_label_of_any_length_and_alphabet_is_kept_as_far_as_there_is_room() -> None:
    assert shoal.Lock(label="ü" * 40).label == "ü" * 15
    assert shoal.Lock(label="\ud800").label == "?"
    assert shoal.Lock().label == ""


def test_what_a_killed_thread_has_shown_is_not_taken_for_anothers(eventually: Callable[..., None]) -> None:
    lock = shoal.Lock(label="test: stale")
    with lock:
        victim = shoal.Process(target=wait_for_it, args=(lock,))
        victim.start()
        eventually(lambda: any(waiter.stack for waiter in info_of(lock).waiters))
        victim.kill()
        victim.join()
        assert info_of(lock).waiters == ()
        heir = shoal.Process(target=lock.acquire, args=(True, 30))
        heir.start()
        eventually(lambda: info_of(lock).waiters)
        assert "in wait_for_it" not in info_of(lock).waiters[0].stack
        heir.kill()
        heir.join()

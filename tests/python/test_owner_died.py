"""The death of a process that holds a lock: the next one gets it, and is told."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def acquire_and_die(lock: Any, how: str = "kill") -> None:
    lock.acquire()
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


def die_with(lock: Any, context: Any = shoal, how: str = "kill") -> Any:
    child = context.Process(target=acquire_and_die, args=(lock, how))
    child.start()
    child.join()
    return child


def hold_until_killed(lock: Any, held: Any) -> None:
    with lock:
        held.set()
        while True:
            signal.pause()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_acquire_gets_the_lock_and_is_told(context: Any, kind: str) -> None:
    lock = getattr(context, kind)(label="index")
    child = die_with(lock, context)
    with pytest.raises(shoal.OwnerDied) as raised:
        lock.acquire()
    error = raised.value
    assert isinstance(error, shoal.ProcessError)
    assert (error.pid, error.thread, error.label) == (child.pid, child.pid, "index")
    assert error.exitcode == -signal.SIGKILL
    for part in (f"process {child.pid}", "SIGKILL", f"{kind} 'index'", "s ago", "release it"):
        assert part in str(error)
    assert lock._semlock._is_mine()
    lock.release()
    with lock:  # mended
        pass


def test_the_exit_code_is_known_before_the_child_was_waited_for() -> None:
    lock = shoal.Lock()
    pid = os.fork()
    if pid == 0:
        try:
            acquire_and_die(lock)
        finally:
            os._exit(1)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(shoal.OwnerDied) as raised:
        lock.acquire()
    lock.release()
    assert raised.value.exitcode == -signal.SIGKILL
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_process_that_ends_by_itself_has_died_too() -> None:
    lock = shoal.Lock()
    child = die_with(lock, how="exit")
    with pytest.raises(shoal.OwnerDied, match="exit code 3") as raised:
        lock.acquire()
    assert raised.value.exitcode == child.exitcode == 3
    lock.release()


def test_with_gives_the_lock_back() -> None:
    lock = shoal.Lock()
    die_with(lock)
    with pytest.raises(shoal.OwnerDied, match="given back"), lock:
        pytest.fail("this block must not be entered")
    assert not lock.locked()
    with lock:  # nobody else is told
        pass


def test_it_is_told_by_attempts_that_do_not_wait() -> None:
    for arguments in ({"block": False}, {"timeout": 0}, {"timeout": 30}, {"timeout": 30, "raises": True}):
        lock = shoal.Lock()
        die_with(lock)
        with pytest.raises(shoal.OwnerDied):
            lock.acquire(**arguments)
        assert lock._is_mine()
        lock.release()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_those_who_wait_are_woken(context: Any, kind: str, eventually: Callable[..., None]) -> None:
    lock, held = getattr(context, kind)(), context.Event()
    victim = context.Process(target=hold_until_killed, args=(lock, held))
    victim.start()
    assert held.wait(30)
    told: list[str] = []

    def wait() -> None:
        try:
            lock.acquire()
            told.append("acquired")
        except shoal.OwnerDied:
            told.append("told")
        lock.release()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: lock._waiting() == 3)
    victim.kill()
    for thread in threads:
        thread.join(30)
    assert sorted(told) == ["acquired", "acquired", "told"]
    victim.join()


def test_a_handle_may_ask_to_recover_without_a_word(context: Any) -> None:
    lock = context.Lock(on_owner_death="recover")
    assert lock.on_owner_death == "recover"
    die_with(lock, context)
    assert lock.acquire() is True
    lock.release()
    die_with(lock, context)
    with lock:
        assert lock._semlock._is_mine()


def test_the_policy_travels_with_the_handle() -> None:
    lock = shoal.RLock(on_owner_death="recover")
    assert pickle.loads(pickle.dumps(lock)).on_owner_death == "recover"
    assert pickle.loads(pickle.dumps(shoal.Lock())).on_owner_death == "raise"


@pytest.mark.parametrize("kind", [shoal.Lock, shoal.RLock])
def test_an_unknown_policy_is_an_error(kind: Any) -> None:
    with pytest.raises(ValueError, match="'forget', expected 'raise' or 'recover'"):
        kind(on_owner_death="forget")


def test_a_thread_that_ends_keeps_its_lock() -> None:
    lock = shoal.Lock()
    thread = threading.Thread(target=lock.acquire)
    thread.start()
    thread.join()
    assert lock.locked()
    assert lock.acquire(timeout=0.2) is False
    lock.release()
    with lock:
        pass


def test_it_is_told_again_if_the_one_who_was_told_dies() -> None:
    lock = shoal.Lock()
    die_with(lock)

    def be_told_and_die() -> None:
        try:
            lock.acquire()
        except shoal.OwnerDied:
            os.kill(os.getpid(), signal.SIGKILL)

    second = shoal.get_context("fork").Process(target=be_told_and_die)
    second.start()
    second.join()
    with pytest.raises(shoal.OwnerDied) as raised:
        lock.acquire()
    assert raised.value.pid == second.pid
    lock.release()


def test_an_rlock_of_a_dead_process_is_acquired_once() -> None:
    lock = shoal.RLock()

    def acquire_twice_and_die() -> None:
        lock.acquire()
        acquire_and_die(lock)

    child = shoal.get_context("fork").Process(target=acquire_twice_and_die)
    child.start()
    child.join()
    with pytest.raises(shoal.OwnerDied):
        lock.acquire()
    assert lock._count() == 1
    lock.release()
    assert not lock.locked()


def take_turns(lock: Any, stop: Any, taken: Any) -> None:
    while not stop.is_set():
        with contextlib.suppress(shoal.OwnerDied), lock:
            taken.release()


def test_random_kills_wedge_nobody(context: Any) -> None:
    lock, stop, taken = context.Lock(), context.Event(), context.Semaphore(0)
    for _ in range(5):
        victims = [context.Process(target=take_turns, args=(lock, stop, taken)) for _ in range(2)]
        for victim in victims:
            victim.start()
        for _ in range(50):
            assert taken.acquire(timeout=30)
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.join()
    with contextlib.suppress(shoal.OwnerDied):
        assert lock.acquire(timeout=30)
    lock.release()


def test_an_error_can_be_sent_to_another_process() -> None:
    error = shoal.OwnerDied("gone", pid=3, exitcode=-9, thread=4, label="index")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == ("gone", vars(error))

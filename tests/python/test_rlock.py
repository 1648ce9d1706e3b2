"""shoal.RLock."""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any

import pytest
import shoal


def test_its_thread_may_acquire_it_again() -> None:
    lock = shoal.RLock()
    assert lock.acquire() is True
    assert lock.acquire(False) is True
    with lock:
        assert lock._semlock._count() == 3
    lock.release()
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_releasing_it_in_another_thread_is_an_error() -> None:
    lock = shoal.RLock()
    with pytest.raises(AssertionError, match="not owned by thread"):
        lock.release()
    lock.acquire()
    raised: list[str] = []

    def release() -> None:
        try:
            lock.release()
        except AssertionError as error:
            raised.append(str(error))

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert raised == ["attempt to release recursive lock not owned by thread"]
    assert lock.locked()
    lock.release()


def test_it_excludes_other_threads() -> None:
    lock, got = shoal.RLock(), []
    with lock:
        thread = threading.Thread(target=lambda: got.append(lock.acquire(timeout=0.01)))
        thread.start()
        thread.join()
    assert got == [False]


def add_twice(lock: Any, counter: Any, times: int) -> None:
    for _ in range(times):
        with lock, lock:
            counter.value += 1


def test_it_excludes_other_processes(context: Any) -> None:
    lock, counter = context.RLock(), context.RawValue("i", 0)
    children = [context.Process(target=add_twice, args=(lock, counter, 500)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert counter.value == 1500


def test_its_repr_tells_the_owner_and_how_often() -> None:
    lock = shoal.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(repr(lock)))
        thread.start()
        thread.join()
        assert seen == ["<RLock(SomeOtherThread, nonzero)>"]


def test_a_forked_child_does_not_hold_what_its_parent_holds() -> None:
    lock = shoal.RLock()
    with lock:
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(1 if lock._semlock._is_mine() or lock.acquire(False) else 0)
            finally:
                os._exit(2)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert lock._semlock._count() == 1
    assert not lock.locked()


def test_a_copy_is_the_same_lock() -> None:
    lock = shoal.RLock(label="journal")
    copy = pickle.loads(pickle.dumps(lock))
    with lock:
        assert copy.locked()
        assert copy.acquire(False)  # by the same thread
        copy.release()
    assert copy.label == "journal"

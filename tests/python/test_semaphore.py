"""shoal.Semaphore and shoal.BoundedSemaphore."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def test_it_has_as_many_units_as_at_first() -> None:
    semaphore = shoal.Semaphore(2)
    assert semaphore.acquire() is True
    assert semaphore.get_value() == 1
    assert semaphore.acquire(False) is True
    assert semaphore.locked()
    assert semaphore.acquire(False) is False
    started = time.monotonic()
    assert semaphore.acquire(timeout=0.05) is False
    assert time.monotonic() - started >= 0.05
    semaphore.release()
    with semaphore:
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1


def test_it_takes_more_units_than_at_first() -> None:
    semaphore = shoal.Semaphore(0)
    semaphore.release()
    semaphore.release()
    assert semaphore.get_value() == 2


def test_a_bounded_one_does_not() -> None:
    semaphore = shoal.BoundedSemaphore(2)
    assert isinstance(semaphore, shoal.Semaphore)
    with semaphore, semaphore:
        pass
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    assert semaphore.get_value() == 2


def test_reprs_tell_the_value() -> None:
    assert repr(shoal.Semaphore(3)) == "<Semaphore(value=3)>"
    assert repr(shoal.BoundedSemaphore()) == "<BoundedSemaphore(value=1, maxvalue=1)>"


def test_what_cannot_be_a_number_of_units_is_an_error() -> None:
    with pytest.raises(OSError, match="-1 units"):
        shoal.Semaphore(-1)
    with pytest.raises(OverflowError):
        shoal.BoundedSemaphore(2**31)
    with pytest.raises(TypeError):
        shoal.Semaphore("two")  # type: ignore[arg-type]


def take(semaphore: Any, taken: Any) -> None:
    taken.put(semaphore.acquire(timeout=30))


def test_units_are_shared_by_processes(context: Any) -> None:
    semaphore, taken = context.BoundedSemaphore(1), context.Queue()
    semaphore.acquire()
    children = [context.Process(target=take, args=(semaphore, taken)) for _ in range(2)]
    for child in children:
        child.start()
    semaphore.release()
    assert taken.get(timeout=30) is True
    semaphore.release()  # whoever acquired it
    assert taken.get(timeout=30) is True
    for child in children:
        child.join()
    assert semaphore.get_value() == 0


def test_a_killed_waiter_takes_no_unit(eventually: Callable[..., None]) -> None:
    semaphore, taken = shoal.Semaphore(0), shoal.Queue()
    victim = shoal.Process(target=take, args=(semaphore, taken))
    victim.start()
    eventually(lambda: any(lock.waiters for lock in shoal.debug.locks() if lock.kind == "Semaphore"))
    victim.kill()
    victim.join()
    semaphore.release()
    assert semaphore.acquire(timeout=30)


def test_a_copy_has_the_same_units() -> None:
    semaphore = shoal.BoundedSemaphore(2)
    copy = pickle.loads(pickle.dumps(semaphore))
    copy.acquire()
    assert semaphore.get_value() == 1
    assert copy.maxvalue == 2
    semaphore.release()
    with pytest.raises(ValueError, match="too many times"):
        copy.release()


def test_threads_wake_each_other() -> None:
    semaphore, got = shoal.Semaphore(0), []
    threads = [threading.Thread(target=lambda: got.append(semaphore.acquire(timeout=30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        semaphore.release()
    for thread in threads:
        thread.join()
    assert got == [True] * 4

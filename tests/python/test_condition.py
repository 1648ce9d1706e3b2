"""shoal.Condition."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def waits(condition: Any) -> Callable[[int], Callable[[], bool]]:
    """waits(condition)(n): whether n wait."""
    return lambda number: lambda: condition._waiting() == number


def wait_and_tell(condition: Any, told: Any) -> None:
    with condition:
        told.put(condition.wait(30))


LOCKS: list[tuple[str, Callable[[Any], Any]]] = [
    ("default", lambda context: context.Condition()),
    ("lock", lambda context: context.Condition(context.Lock())),
    ("rlock", lambda context: context.Condition(context.RLock())),
]


@pytest.mark.parametrize("make", [make for _, make in LOCKS], ids=[name for name, _ in LOCKS])
def test_it_wakes_processes_that_wait(context: Any, make: Any, eventually: Callable[..., None]) -> None:
    condition, told = make(context), context.Queue()
    children = [context.Process(target=wait_and_tell, args=(condition, told)) for _ in range(3)]
    for child in children:
        child.start()
    eventually(waits(condition)(3))
    with condition:
        condition.notify()
    assert told.get(timeout=30) is True
    assert condition._waiting() == 2
    with condition:
        condition.notify_all()
    assert [told.get(timeout=30), told.get(timeout=30)] == [True, True]
    for child in children:
        child.join()


def test_who_waited_longest_is_notified_first(eventually: Callable[..., None]) -> None:
    condition, order = shoal.Condition(), []

    def wait(number: int) -> None:
        with condition:
            condition.wait(30)
            order.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(4)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        eventually(waits(condition)(number))
    for number in range(1, 4):
        with condition:
            condition.notify(1)
        eventually(lambda number=number: len(order) == number)  # type: ignore[misc]
    with condition:
        condition.notify(5)
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_wait_tells_whether_it_was_notified() -> None:
    condition = shoal.Condition()
    with condition:
        started = time.monotonic()
        assert condition.wait(0.05) is False
        assert time.monotonic() - started >= 0.05
        assert condition.wait(timeout=0) is False
        assert condition.wait(-1) is False


def test_without_its_lock_it_is_an_error() -> None:
    for condition in (shoal.Condition(), shoal.Condition(shoal.Lock()), shoal.Condition(threading.RLock())):
        with pytest.raises(AssertionError, match="must acquire"):
            condition.wait()
        with pytest.raises(AssertionError, match="not owned"):
            condition.notify()
        with pytest.raises(AssertionError, match="not owned"):
            condition.notify_all()


def test_an_rlock_that_was_acquired_several_times_is_released_altogether(eventually: Callable[..., None]) -> None:
    lock = shoal.RLock()
    condition, counts = shoal.Condition(lock), []

    def wait() -> None:
        with lock, lock, lock:
            condition.wait(30)
            counts.append(lock._semlock._count())

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(waits(condition)(1))
    with condition:
        condition.notify()
    thread.join()
    assert counts == [3]
    assert not lock.locked()


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, multiprocessing.Lock, multiprocessing.RLock])
def test_it_takes_locks_of_the_standard_library(make: Callable[[], Any], eventually: Callable[..., None]) -> None:
    lock = make()
    condition, woken = shoal.Condition(lock), []

    def wait() -> None:
        with condition:
            woken.append(condition.wait(30))
            assert not lock.acquire(False) or lock.release() is None

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(waits(condition)(1))
    assert condition.acquire(True, 30)
    condition.notify()
    condition.release()
    thread.join()
    assert woken == [True]


def test_it_asks_a_subclass_of_lock_that_does_more() -> None:
    class Counted(shoal.Lock):
        releases = 0

        def release(self) -> None:
            self.releases += 1
            super().release()

    lock = Counted()
    condition = shoal.Condition(lock)
    condition.acquire()
    condition.wait(0)
    condition.release()
    assert lock.releases == 2


def test_what_is_no_lock_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a lock"):
        shoal.Condition(3)


def test_wait_for_returns_what_the_predicate_returned() -> None:
    condition, state = shoal.Condition(), [0]

    def count() -> None:
        for _ in range(4):
            with condition:
                state[0] += 1
                condition.notify()

    with condition:
        assert condition.wait_for(lambda: state[0] > 3, timeout=0.01) is False
    thread = threading.Thread(target=count)
    thread.start()
    with condition:
        assert condition.wait_for(lambda: state[0] == 4 and "four", timeout=30) == "four"
    thread.join()


def test_a_notification_for_a_killed_process_is_passed_on(context: Any, eventually: Callable[..., None]) -> None:
    condition, told = context.Condition(), context.Queue()
    victim = context.Process(target=wait_and_tell, args=(condition, told))
    victim.start()
    eventually(waits(condition)(1))
    other = context.Process(target=wait_and_tell, args=(condition, told))
    other.start()
    eventually(waits(condition)(2))
    os.kill(victim.pid, signal.SIGSTOP)
    with condition:
        condition.notify()  # the victim, which cannot go on any more
    victim.kill()
    victim.join()
    assert told.get(timeout=30) is True
    other.join()


def test_killed_waiters_are_not_notified(eventually: Callable[..., None]) -> None:
    condition, told = shoal.Condition(), shoal.Queue()
    victims = [shoal.Process(target=wait_and_tell, args=(condition, told)) for _ in range(3)]
    for victim in victims:
        victim.start()
    eventually(waits(condition)(3))
    for victim in victims:
        victim.kill()
        victim.join()
    assert condition._waiting() == 0
    thread = threading.Thread(target=wait_and_tell, args=(condition, told))
    thread.start()
    eventually(waits(condition)(1))
    with condition:
        condition.notify()
    assert told.get(timeout=30) is True
    thread.join()


def wait_until_interrupted(condition: Any, told: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with condition:
        try:
            condition.wait(30)
        except KeyboardInterrupt:
            told.put(condition._lock._semlock._is_mine())


def test_ctrl_c_leaves_wait_with_the_lock_held(context: Any, eventually: Callable[..., None]) -> None:
    condition, told = context.Condition(), context.Queue()
    child = context.Process(target=wait_until_interrupted, args=(condition, told))
    child.start()
    eventually(waits(condition)(1))
    os.kill(child.pid, signal.SIGINT)
    assert told.get(timeout=30) is True
    child.join()
    assert child.exitcode == 0
    assert condition._waiting() == 0
    with condition:
        condition.notify()


def hold_and_die(condition: Any, ready: Any) -> None:
    with condition:
        ready.set()
        condition.notify()
        os.kill(os.getpid(), signal.SIGKILL)


def test_wait_tells_that_the_locks_holder_has_died(context: Any) -> None:
    condition, ready = context.Condition(), context.Event()
    child = context.Process(target=hold_and_die, args=(condition, ready))
    condition.acquire()
    child.start()
    with pytest.raises(shoal.OwnerDied) as raised:
        condition.wait(30)
    assert raised.value.pid == child.pid
    assert condition._lock._semlock._is_mine()
    condition.release()
    child.join()
    with condition:
        pass


def test_a_copy_is_the_same_condition(eventually: Callable[..., None]) -> None:
    condition, told = shoal.Condition(shoal.Lock(label="of two")), shoal.Queue()
    copy = pickle.loads(pickle.dumps(condition))
    thread = threading.Thread(target=wait_and_tell, args=(copy, told))
    thread.start()
    eventually(waits(condition)(1))
    with condition:
        condition.notify()
    assert told.get(timeout=30) is True
    thread.join()


def test_its_repr_tells_the_lock_and_how_many_wait() -> None:
    assert repr(shoal.Condition(shoal.Lock())) == "<Condition(<Lock(owner=None)>, 0)>"


def test_it_is_collected_with_a_lock_that_refers_to_it() -> None:
    import gc
    import weakref

    class Lock(shoal.Lock):
        condition: Any = None

    lock = Lock()
    condition = lock.condition = shoal.Condition(lock)
    gone = weakref.ref(condition)
    del lock, condition
    gc.collect()
    assert gone() is None

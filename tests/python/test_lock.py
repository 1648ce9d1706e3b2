"""shoal.Lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def add_under_lock(lock: Any, counter: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            seen = counter.value
            counter.value = seen + 1


def hold(lock: Any, held: Any, let_go: Any) -> None:
    with lock:
        held.set()
        let_go.wait(30)


def test_it_excludes_other_processes(context: Any) -> None:
    lock, counter = context.Lock(), context.RawValue("i", 0)
    children = [context.Process(target=add_under_lock, args=(lock, counter, 500)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert counter.value == 1500


def test_acquire_tells_whether_it_got_the_lock() -> None:
    lock = shoal.Lock()
    assert lock.acquire() is True
    assert lock.acquire(False) is False
    assert lock.acquire(block=True, timeout=0.01) is False
    started = time.monotonic()
    assert lock.acquire(True, 0.05) is False
    assert time.monotonic() - started >= 0.05
    lock.release()
    assert lock.acquire(timeout=1) is True
    lock.release()


def test_releasing_a_free_lock_is_an_error() -> None:
    lock = shoal.Lock()
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()
    with lock:
        pass
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()


def test_any_thread_may_release_it() -> None:
    lock = shoal.Lock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert lock.acquire(False)
    lock.release()


def test_its_repr_tells_the_owner() -> None:
    lock, held, let_go = shoal.Lock(), shoal.Event(), shoal.Event()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(repr(lock)))
        thread.start()
        thread.join()
        assert seen == ["<Lock(owner=SomeOtherThread)>"]
    child = shoal.Process(target=hold, args=(lock, held, let_go))
    child.start()
    assert held.wait(30)
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    let_go.set()
    child.join()
    assert repr(lock) == "<Lock(owner=None)>"


def wait_in_condition(condition: Any, ready: Any, woken: Any) -> None:
    with condition:
        ready.set()
        woken.put(condition.wait(30))


def test_a_condition_of_the_standard_library_takes_it(context: Any) -> None:
    condition, ready, woken = context.Condition(context.Lock()), context.Event(), context.Queue()
    child = context.Process(target=wait_in_condition, args=(condition, ready, woken))
    child.start()
    assert ready.wait(30)
    with condition:  # free again only once the child waits
        condition.notify()
    assert woken.get(timeout=30) is True
    child.join()


def test_ten_thousand_take_next_to_no_descriptors(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import os, shoal\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "locks = [shoal.Lock() for _ in range(10_000)]\n"
        "assert all(lock.acquire(False) for lock in locks)\n"
        "print(len(os.listdir('/proc/self/fd')) - before < 100)\n",
    )
    assert ended.out == "True\n", ended


def release_all(locks: Any) -> None:
    for lock in locks:
        lock.release()


def test_hundreds_can_be_passed_to_one_process(context: Any) -> None:
    locks = [context.Lock() for _ in range(300)]
    for lock in locks:
        lock.acquire()
    child = context.Process(target=release_all, args=(locks,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert all(lock.acquire(False) for lock in locks)


def test_block_may_be_any_truth_value() -> None:
    lock = shoal.Lock()
    assert lock.acquire(1)  # type: ignore[arg-type]
    assert not lock.acquire(0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="NaN"):
        lock.acquire(timeout=float("nan"))

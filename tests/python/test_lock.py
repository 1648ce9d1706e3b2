"""shoal.Lock."""

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
    with pytest.warns(RuntimeWarning, match="this very thread"):
        assert lock.acquire(block=True, timeout=0.01) is False
    started = time.monotonic()
    with pytest.warns(RuntimeWarning, match="this very thread"):
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


def test_a_condition_of_the_standard_library_takes_it() -> None:
    context: Any = multiprocessing.get_context("fork")
    condition, ready, woken = context.Condition(shoal.Lock()), context.Event(), shoal.Queue()
    child = context.Process(target=wait_in_condition, args=(condition, ready, woken))
    child.start()
    assert ready.wait(30)
    with condition:  # free again only once the child waits
        condition.notify()
    assert woken.get(timeout=30) is True
    child.join()


def test_ten_thousand_fit_under_a_limit_of_1024_descriptors(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import os, resource, shoal\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "locks = [shoal.Lock() for _ in range(10_000)]\n"
        "assert all(lock.acquire(False) for lock in locks)\n"
        "print(len(os.listdir('/proc/self/fd')) - before < 100)\n",
    )
    assert ended.out == "True\n", ended


def test_a_million_creations_leave_nothing_behind(run: Callable[..., Any]) -> None:
    ended = run(
        "-c",
        "import os, shoal\n"
        "kinds = shoal.Lock, shoal.RLock, shoal.Semaphore, shoal.Condition, shoal.Event\n"
        "def census():\n"
        "    pages = int(open('/proc/self/statm').read().split()[1])\n"
        "    return len(os.listdir('/proc/self/fd')), pages * os.sysconf('SC_PAGE_SIZE')\n"
        "def create(number):\n"
        "    for kind in kinds:\n"
        "        for _ in range(number // len(kinds)):\n"
        "            kind()\n"
        "create(20_000)\n"
        "descriptors, memory = census()\n"
        "create(1_000_000)\n"
        "descriptors_now, memory_now = census()\n"
        "print(descriptors_now - descriptors, memory_now - memory < 4 << 20)\n",
    )
    assert ended.out == "0 True\n", ended


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


def test_locked_tells_whether_anybody_holds_it() -> None:
    lock = shoal.Lock()
    assert lock.locked() is False
    with lock:
        assert lock.locked() is True
        seen: list[bool] = []
        thread = threading.Thread(target=lambda: seen.append(lock.locked()))
        thread.start()
        thread.join()
        assert seen == [True]
    assert lock.locked() is False


def test_a_timeout_may_be_raised_and_says_who_holds_the_lock(eventually: Callable[..., None]) -> None:
    lock, held, let_go = shoal.Lock(label="log"), shoal.Event(), shoal.Event()
    child = shoal.Process(target=hold, args=(lock, held, let_go), name="the holder")
    child.start()
    assert held.wait(30)
    waiting = threading.Thread(target=lambda: lock.acquire(timeout=30) and lock.release())
    waiting.start()
    eventually(lambda: lock._waiting() == 1)
    with pytest.raises(TimeoutError) as raised:
        lock.acquire(timeout=0.01, raises=True)
    assert isinstance(raised.value, shoal.TimeoutError)
    for part in ("Lock 'log'", "within 0.01 s", f"process {child.pid} (the holder) has held it for", "1 more thread"):
        assert part in str(raised.value)
    with pytest.raises(TimeoutError, match="within 0 s"):
        lock.acquire(False, raises=True)
    let_go.set()
    child.join()
    waiting.join()
    assert lock.acquire(timeout=30, raises=True) is True
    lock.release()


def test_a_thread_that_waits_for_itself_is_told_so() -> None:
    lock = shoal.Lock()
    with lock:
        with pytest.raises(TimeoutError, match=r"this very thread has held it .* an RLock can"):
            lock.acquire(timeout=0.01, raises=True)
        with pytest.warns(RuntimeWarning, match=r"this very thread has held it .* an RLock can") as warned:
            assert lock.acquire(timeout=0.01) is False
        assert warned[0].filename == __file__
        assert lock.acquire(False) is False  # asking is no mistake


def test_a_copy_is_the_same_lock() -> None:
    lock = shoal.Lock(label="journal")
    copy = pickle.loads(pickle.dumps(lock))
    with lock:
        assert copy.locked()
        assert not copy.acquire(False)
    assert copy.label == "journal"


def test_a_forked_child_may_release_what_its_parent_holds() -> None:
    lock = shoal.Lock()
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        try:
            lock.release()
            os._exit(0 if not lock._semlock._is_mine() else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert lock.acquire(False)
    lock.release()


def be_interrupted(lock: Any, told: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        lock.acquire()
    except KeyboardInterrupt:
        told.put("interrupted")


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
def test_ctrl_c_ends_a_wait(context: Any, kind: str, eventually: Callable[..., None]) -> None:
    lock, told = getattr(context, kind)(), context.Queue()
    lock.acquire()
    child = context.Process(target=be_interrupted, args=(lock, told))
    child.start()
    eventually(lambda: any(waiter.pid == child.pid for info in shoal.debug.locks() for waiter in info.waiters))
    os.kill(child.pid, signal.SIGINT)
    assert told.get(timeout=30) == "interrupted"
    child.join()
    assert lock.acquire(False) is (kind == "RLock")
    lock.release()
    assert lock.acquire(False)


def test_a_signal_handler_runs_while_a_thread_waits() -> None:
    lock, ran = shoal.Lock(), []

    def handle(*_: object) -> None:
        ran.append(True)
        lock.release()

    before = signal.signal(signal.SIGALRM, handle)
    try:
        lock.acquire()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert lock.acquire(timeout=30)  # goes on after the handler
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ran == [True]
    lock.release()


def test_many_threads_get_their_turn() -> None:
    lock, count = shoal.Lock(), [0]

    def add() -> None:
        for _ in range(500):
            with lock:
                count[0] += 1

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == [4000]

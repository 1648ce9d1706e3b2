"""What can be chosen for the workers of a pool: memory limit, CPUs, a state of their own, a function called last."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from shoal.pool import current_worker

LIMIT = 512 << 20

trace: Any = None


def share(queue: Any) -> None:
    global trace
    trace = queue


def take_memory(size: int) -> int:
    return len(bytearray(size))


def cpus(_: Any = None) -> set[int]:
    return os.sched_getaffinity(0)


def square(number: int) -> int:
    return number * number


def worker_number(_: Any = None) -> int:
    worker = current_worker()
    assert worker is not None
    return worker.number


def count_up(_: Any = None) -> tuple[int, int]:
    worker = current_worker()
    assert worker is not None
    worker.state.count = getattr(worker.state, "count", 0) + 1
    return worker.number, worker.state.count


def prepare_state(start: int) -> None:
    worker = current_worker()
    assert worker is not None
    worker.state.count = start


def tell_state() -> None:
    worker = current_worker()
    assert worker is not None
    trace.put((worker.number, worker.state.count))


def tell_end() -> None:
    trace.put(("end", os.getpid()))


def fail_at_the_end() -> None:
    raise LookupError("nothing to put away")


def leave_at_the_end() -> None:
    sys.exit(7)


def wait_for_ever() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    trace.put("waiting")
    time.sleep(3600)


def die(_: Any = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def child_has_a_worker(_: Any = None) -> int | None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"none" if current_worker() is None else b"some")
        os._exit(0)
    os.waitpid(pid, 0)
    found = os.read(read, 10)
    os.close(read)
    os.close(write)
    return None if found == b"none" else 1


# Memory


def test_a_task_beyond_the_memory_limit_fails_with_memory_error(context: Any) -> None:
    with context.Pool(2, max_memory=LIMIT) as pool:
        with pytest.raises(MemoryError):
            pool.apply(take_memory, (2 * LIMIT,))
        assert pool.map(take_memory, [1 << 20] * 4) == [1 << 20] * 4


def test_a_worker_that_dies_tells_its_memory_limit() -> None:
    with shoal.Pool(1, max_memory=LIMIT) as pool, pytest.raises(shoal.WorkerDied, match=r"its limit was 512 MiB"):
        pool.apply(die)


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ("much", TypeError, "max_memory is 'much', expected an integer"),
        (-1, ValueError, "max_memory is -1"),
        (4096, ValueError, "max_memory=4096 is too little"),
    ],
)
@pytest.mark.usefixtures("no_leaks")
def test_a_limit_that_cannot_be_makes_the_constructor_fail(limit: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        shoal.Pool(2, max_memory=limit)


# CPUs


def test_pinned_workers_have_one_cpu_each(context: Any) -> None:
    usable = sorted(os.sched_getaffinity(0))
    with context.Pool(3, cpu_affinity=True) as pool:
        assert pool.apply(cpus) in [{cpu} for cpu in usable]
        found = {process.pid: os.sched_getaffinity(process.pid) for process in pool._pool}
    assert list(found.values()) == [{usable[worker % len(usable)]} for worker in range(3)]


def test_each_worker_can_have_cpus_of_its_own(context: Any) -> None:
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with context.Pool(2, cpu_affinity=[last, {first, last}]) as pool:
        pool.map(cpus, range(4))
        assert [os.sched_getaffinity(process.pid) for process in pool._pool] == [{last}, {first, last}]


def test_a_worker_that_takes_another_s_place_has_its_cpus() -> None:
    cpu = max(os.sched_getaffinity(0))
    with shoal.Pool(1, maxtasksperchild=1, cpu_affinity=[[cpu]]) as pool:
        assert pool.map(cpus, range(3), chunksize=1) == [{cpu}] * 3


def test_the_owner_keeps_its_cpus() -> None:
    before = os.sched_getaffinity(0)
    with shoal.Pool(1, cpu_affinity=True):
        assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("affinity", "error", "message"),
    [
        ([0], ValueError, "cpu_affinity has 1 sets of CPUs for 2 workers"),
        ([0, []], ValueError, "worker 1: the set is empty"),
        ([0, 4000], ValueError, r"worker 1: of \[4000\], \[4000\] are no CPUs that this process may use; there are"),
        ([-1, 0], ValueError, "worker 0"),
        ([["first"], 0], ValueError, "first"),
        (3, TypeError, "expected True or a list"),
    ],
)
@pytest.mark.usefixtures("no_leaks")
def test_cpus_that_cannot_be_make_the_constructor_fail(affinity: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        shoal.Pool(2, cpu_affinity=affinity)


@pytest.mark.parametrize("options", [{"max_memory": LIMIT}, {"cpu_affinity": True}])
def test_a_foreign_context_knows_no_settings(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"multiprocessing\.context\.\w+, which knows no such settings"):
        shoal.Pool(1, context=multiprocessing.get_context("fork"), **options)


# Workers' own state


def test_a_worker_knows_its_number(context: Any) -> None:
    assert current_worker() is None
    with context.Pool(2) as pool:
        assert set(pool.map(worker_number, range(20), chunksize=1)) <= {0, 1}
    with context.Pool(1) as pool:
        assert pool.apply(worker_number) == 0


def test_a_worker_keeps_what_its_tasks_have_left(context: Any) -> None:
    with context.Pool(2, prepare_state, (100,)) as pool:
        counts: dict[int, list[int]] = {0: [], 1: []}
        for number, count in pool.map(count_up, range(40), chunksize=1):
            counts[number].append(count)
    assert sorted(counts[0]) == list(range(101, 101 + len(counts[0])))
    assert sorted(counts[1]) == list(range(101, 101 + len(counts[1])))


def test_the_state_of_a_new_worker_is_empty() -> None:
    with shoal.Pool(1, maxtasksperchild=2) as pool:
        assert pool.map(count_up, range(4), chunksize=1) == [(0, 1), (0, 2), (0, 1), (0, 2)]


def test_a_process_that_a_task_has_forked_is_no_worker() -> None:
    with shoal.Pool(1) as pool:
        assert pool.apply(child_has_a_worker) is None


# The function called last


def test_worker_exit_is_called_by_each_worker_that_ends_in_order(context: Any) -> None:
    told = context.Queue()
    with context.Pool(2, share, (told,), worker_exit=tell_end) as pool:
        pids = {process.pid for process in pool._pool}
        pool.map(square, range(10))
        pool.close()
        pool.join()
    assert {told.get(timeout=30) for _ in range(2)} == {("end", pid) for pid in pids}
    assert told.empty()


def test_worker_exit_is_called_after_the_last_task_of_a_worker() -> None:
    told = shoal.Queue()
    with shoal.Pool(1, share, (told,), maxtasksperchild=2, worker_exit=tell_state) as pool:
        pool.map(count_up, range(4), chunksize=1)
        assert [told.get(timeout=30) for _ in range(2)] == [(0, 2), (0, 2)]


def test_worker_exit_is_not_called_by_a_worker_that_is_killed() -> None:
    told = shoal.Queue()
    with shoal.Pool(2, share, (told,), worker_exit=tell_end) as pool:
        with pytest.raises(shoal.WorkerDied):
            pool.apply(die)
        pool.terminate()
        pool.join()
    assert told.empty()


@pytest.mark.parametrize(
    ("last", "text"), [(fail_at_the_end, "LookupError: nothing to put away"), (leave_at_the_end, "SystemExit: 7")]
)
def test_what_worker_exit_raises_is_printed(
    last: Callable[[], object], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with shoal.Pool(1, worker_exit=last) as pool:
        assert pool.apply(square, (3,)) == 9
        pool.close()
        pool.join()
    printed = capfd.readouterr().err
    assert f"worker_exit {last.__qualname__} failed in <worker 0 of a pool" in printed
    assert text in printed


def test_a_worker_exit_that_never_returns_ends_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shoal._worker_local.EXIT_SECONDS", 0.1)
    told = shoal.Queue()
    with shoal.get_context("fork").Pool(1, share, (told,), worker_exit=wait_for_ever) as pool:
        pool.close()
        assert told.get(timeout=30) == "waiting"
        pool.join()
    assert "in wait_for_ever" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["worker_exit", "initializer"])
def test_what_cannot_be_called_is_refused(option: str) -> None:
    with pytest.raises(TypeError, match=f"{option} must be a callable"):
        shoal.Pool(1, **{option: 5})


def test_initializer_and_worker_exit_may_be_closures(context: Any) -> None:
    told = context.Queue()
    words = ["first", "last"]

    def begin(queue: Any) -> None:
        worker = current_worker()
        assert worker is not None
        worker.state.queue = queue
        queue.put(words[0])

    def end() -> None:
        worker = current_worker()
        assert worker is not None
        worker.state.queue.put(words[1])

    pool = context.Pool(1, begin, (told,), worker_exit=end)
    assert pool.apply(square, (2,)) == 4
    pool.close()
    pool.join()
    assert [told.get(timeout=30) for _ in range(2)] == words

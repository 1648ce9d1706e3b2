"""Threads that wait for different things of one pool, and what may come between: signal handlers, exceptions, calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal

PATIENCE = 30.0


def identity(value: Any) -> Any:
    return value


def wait_for_file(path: str) -> str:
    """Run until there is such a file."""
    deadline = time.monotonic() + PATIENCE
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.005)
    return path


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def arrived(path: str) -> bool:
    """Say that this runs, then go on for long."""
    Path(path).touch()
    time.sleep(10 * PATIENCE)
    return True


def run_program(text: str, *arguments: str, preamble: str = "import shoal, signal, os, sys, threading, time\n") -> str:
    done = subprocess.run(
        [sys.executable, "-c", preamble + text, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def pool() -> Iterator[Any]:
    with shoal.Pool(2) as made:
        yield made


def test_results_come_one_by_one_while_another_thread_receives(tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    with shoal.Pool(3) as pool:
        waiter = threading.Thread(target=pool.apply_async(wait_for_file, (gate,)).get)
        waiter.start()
        wait_until(lambda: pool._crew._work.attending)
        for method in (pool.imap, pool.imap_unordered):
            results = method(wait_if_told, iter(["", gate]), 1)
            assert next(results) == ""
            assert not os.path.exists(gate)
        Path(gate).touch()
        assert next(results) == gate
        waiter.join(PATIENCE)


def wait_if_told(path: str) -> str:
    return wait_for_file(path) if path else path


def test_signal_handler_calls_the_pool_that_the_program_waits_for() -> None:
    program = """
gate = os.pipe()
with shoal.Pool(2) as pool:
    seen = []
    def handler(*_):
        results = [pool.apply_async(abs, (-1,), callback=lambda value: None) for _ in range(20)]
        seen.append(sum(result.get() for result in results))
        os.write(gate[1], b"x")
    signal.signal(signal.SIGUSR1, handler)
    result = pool.apply_async(os.read, (gate[0], 1))
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    print(len(result.get()), seen)
"""
    assert run_program(program) == "1 [20]\n"


def test_signal_handler_that_fails_after_it_has_called_the_pool_loses_nothing() -> None:
    program = """
class Alarm(Exception):
    pass
with shoal.Pool(2) as pool:
    def handler(*_):
        pool.apply(abs, (-1,))
        raise Alarm
    signal.signal(signal.SIGUSR1, handler)
    result = pool.apply_async(time.sleep, (0.5,))
    others = [pool.apply_async(abs, (i,)) for i in range(100)]
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        result.get()
    except Alarm:
        print("alarm")
    print(result.get(), sum(each.get() for each in others))
"""
    assert run_program(program) == "alarm\nNone 4950\n"


class ReadWithPool:
    """What the owner reads by a call of its pool."""

    pool: Any = None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[int]]:
        return (read_with_pool, (os.getpid(),))


def read_with_pool(made_by: int) -> tuple[bool, Any]:
    return made_by != os.getpid(), ReadWithPool.pool.apply(abs, (-7,))


def make_one() -> ReadWithPool:
    return ReadWithPool()


def test_result_that_is_read_by_a_call_of_the_same_pool(pool: Any) -> None:
    ReadWithPool.pool = pool
    others = [pool.apply_async(identity, (i,)) for i in range(50)]
    results = [pool.apply_async(make_one) for _ in range(5)]
    assert [result.get(PATIENCE) for result in results] == [(True, 7)] * 5
    assert [other.get(PATIENCE) for other in others] == list(range(50))


class Interrupting:
    """A progress that fails."""

    def __init__(self, how: type[BaseException]) -> None:
        self.how = how

    def update(self, n: int = 1) -> None:
        pass

    def close(self) -> None:
        raise self.how


def test_worker_is_free_again_if_cancelling_its_task_is_interrupted(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with shoal.Pool(1) as pool:
        result = pool.map_async(arrived, [begun])
        wait_for_file(begun)
        work: Any = pool._crew._work
        whole = work.call_off

        def interrupted(ticket: int) -> None:
            whole(ticket)
            raise KeyboardInterrupt

        work.call_off = interrupted
        with pytest.raises(KeyboardInterrupt):
            result.cancel()
        del work.call_off
        assert pool.apply_async(identity, (1,)).get(PATIENCE) == 1


def test_job_is_over_though_its_progress_fails_when_it_is_cancelled(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with shoal.Pool(1) as pool:
        result: Any = pool.map_async(arrived, [begun])
        result._progress = Interrupting(KeyboardInterrupt)
        told: list[Any] = []
        result._when_done(told.append)
        wait_for_file(begun)
        with pytest.raises(KeyboardInterrupt):
            result.cancel()
        assert told == [result]
        assert not pool._crew.open_jobs()


def test_pool_ends_though_cancelling_was_interrupted_half_way(tmp_path: Path) -> None:
    begun = str(tmp_path / "begun")
    with shoal.Pool(1) as pool:
        result = pool.map_async(arrived, [begun])
        wait_for_file(begun)
        crew: Any = pool._crew

        def interrupted(job: Any) -> None:
            raise KeyboardInterrupt

        crew.job_ended = interrupted
        with pytest.raises(KeyboardInterrupt):
            result.cancel()
        del crew.job_ended
        for worker in pool._pool:
            worker.kill()
        pool.close()
        pool.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_progress_that_fails_hurts_nobody(pool: Any) -> None:
    result = pool.map_async(identity, [1, 2, 3], 1)
    result._progress = Interrupting(OSError)
    told: list[Any] = []
    result._when_done(told.append)
    assert result.get(PATIENCE) == [1, 2, 3]
    wait_until(lambda: told)
    assert told == [result]
    assert pool.map(identity, [4]) == [4]


def test_interrupted_retry_is_the_end_of_its_task(pool: Any, tmp_path: Path) -> None:
    whole = pool._crew._retry

    def interrupted(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return whole(*arguments)

    pool._crew._retry = interrupted
    gate = str(tmp_path / "gate")
    result = pool.apply_async(int_of_file, (gate,), retries=2, retry_on=ValueError)
    threading.Timer(0.2, Path(gate).touch).start()
    with pytest.raises((KeyboardInterrupt, ValueError)):
        result.get(PATIENCE)
    with pytest.raises(ValueError, match="invalid literal"):
        result.get(PATIENCE)


def int_of_file(path: str) -> int:
    wait_for_file(path)
    return int("x")


class AlarmError(Exception):
    pass


def test_threads_that_wait_for_room_are_told_though_whoever_receives_is_interrupted() -> None:
    left = 50

    def interrupt(_number: int, frame: Any) -> None:
        nonlocal left
        if left > 0 and frame.f_code.co_filename != __file__:
            left -= 1
            raise AlarmError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with shoal.Pool(1) as pool:
            results = pool.imap(len, (bytes(1 << 20) for _ in range(200)))
            lengths: list[int] = []
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            while len(lengths) < 200:
                try:  # noqa: SIM105  suppress() may be interrupted itself
                    lengths.extend(results)
                except AlarmError:  # noqa: PERF203
                    pass
            left = 0
            assert lengths == [1 << 20] * 200
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class InterruptsWhilePickled:
    def __init__(self, interrupts: bool) -> None:
        self.interrupts = interrupts

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[int]]:
        if self.interrupts:
            raise KeyboardInterrupt
        return (int, (1,))


def test_interrupt_while_a_map_is_submitted_leaves_no_open_job() -> None:
    items = [InterruptsWhilePickled(i == 150) for i in range(300)]
    with shoal.Pool(1) as pool:
        for call in (pool.map_async, pool.map, pool.imap_unordered):
            with pytest.raises(KeyboardInterrupt):
                call(identity, items, 1)
        pool.close()
        pool.join()


def test_tasks_for_which_there_is_no_shared_memory_fail() -> None:
    program = """
import resource
with shoal.Pool(1) as pool:
    pool.map(abs, range(10))
    items = [bytes(1 << 20) for _ in range(40)]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, resource.RLIM_INFINITY))
    for call in (pool.map, lambda *a: list(pool.imap(*a))):
        try:
            print(len(call(len, items, 1)))
        except (MemoryError, OSError) as error:
            print("failed")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(pool.map(len, items, 1) == [1 << 20] * 40)
    pool.close()
    pool.join()
"""
    assert run_program(program).split()[-3:] == ["failed", "failed", "True"]

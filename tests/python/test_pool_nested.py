"""Pools, and other processes, that tasks of a pool have."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from process_support import has_ended

told: Any = None


def share(queue: Any) -> None:
    global told
    told = queue


def square(number: int) -> int:
    return number * number


def worker_pid(_: Any = None) -> int:
    return os.getpid()


def sum_of_squares(levels: int, numbers: range) -> int:
    """Their sum, computed by a pool in a pool in ... `levels` times."""
    if levels == 0:
        return sum(map(square, numbers))
    middle = len(numbers) // 2
    with shoal.Pool(2) as pool:
        halves = [numbers[:middle], numbers[middle:]]
        return sum(pool.starmap(sum_of_squares, [(levels - 1, half) for half in halves], chunksize=1))


def tell_and_wait(_: Any = None) -> None:
    told.put(os.getpid())
    time.sleep(3600)


def nest_and_wait(method: str) -> None:
    told.put(os.getpid())
    with shoal.get_context(method).Pool(2, share, (told,)) as pool:
        pool.map(tell_and_wait, range(2), chunksize=1)


def leave_a_pool_behind(method: str) -> list[int]:
    global forgotten
    forgotten = shoal.get_context(method).Pool(2)
    return [process.pid for process in forgotten._pool]


forgotten: Any = None


def run_a_process(_: Any = None) -> tuple[bool, int | None]:
    child = shoal.Process(target=square, args=(3,))
    child.start()
    child.join()
    return child.daemon, child.exitcode


def start_one_that_lives_on(_: Any = None) -> None:
    shoal.Process(target=square, args=(3,), daemon=False).start()


def is_daemon(_: Any = None) -> bool:
    return multiprocessing.current_process().daemon


def put_in_manager(_: Any = None) -> int:
    with shoal.Manager() as manager:
        numbers = manager.list([1, 2, 3])
        return sum(numbers)


def test_three_levels_of_pools(context: Any) -> None:
    shoal_default = context.get_start_method()
    with context.Pool(2, shoal.set_start_method, (shoal_default, True)) as pool:
        result = pool.apply_async(sum_of_squares, (2, range(100)))
        assert result.get(60) == sum(map(square, range(100)))


def test_a_nested_pool_ends_with_its_worker_that_is_killed(context: Any, eventually: Callable[..., None]) -> None:
    pids = context.Queue()
    with context.Pool(1, share, (pids,)) as pool:
        result = pool.apply_async(nest_and_wait, (context.get_start_method(),))
        worker, *nested = [pids.get(timeout=30) for _ in range(3)]
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(shoal.WorkerDied):
            result.get(30)
        eventually(lambda: all(map(has_ended, nested)), "the end of the nested workers")


def test_a_nested_pool_ends_when_the_outer_one_is_terminated(context: Any, eventually: Callable[..., None]) -> None:
    pids = context.Queue()
    with context.Pool(1, share, (pids,)) as pool:
        pool.apply_async(nest_and_wait, (context.get_start_method(),))
        everybody = [pids.get(timeout=30) for _ in range(3)]
    eventually(lambda: all(map(has_ended, everybody)), "the end of all workers")


def test_a_nested_pool_that_nobody_closed_does_not_keep_its_worker(
    context: Any, eventually: Callable[..., None]
) -> None:
    with context.Pool(1) as pool:
        nested = pool.apply(leave_a_pool_behind, (context.get_start_method(),))
        pool.close()
        pool.join()
    eventually(lambda: all(map(has_ended, nested)), "the end of the nested workers")


def test_a_task_may_have_processes(context: Any) -> None:
    with context.Pool(1) as pool:
        assert pool.apply(run_a_process) == (True, 0)
        assert pool.apply(put_in_manager) == 6


def test_workers_are_daemons_as_in_multiprocessing(context: Any) -> None:
    with context.Pool(1) as pool:
        assert pool.apply(is_daemon)


def test_a_task_has_no_children_that_outlive_its_worker() -> None:
    with shoal.Pool(1) as pool, pytest.raises(AssertionError, match="daemonic processes are not allowed"):
        pool.apply(start_one_that_lives_on)


def test_other_daemons_have_no_children_as_in_multiprocessing() -> None:
    child = shoal.Process(target=run_a_process, daemon=True)
    child.start()
    child.join()
    assert child.exitcode == 1

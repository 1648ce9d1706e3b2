"""The pool that a process keeps for whoever asks next."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal
from shoal import _reusable_pool, get_reusable_pool
from shoal._reusable_pool import hold_reusable_pool, release_reusable_pool

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def no_pool_is_kept() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    if _reusable_pool._kept is not None:
        _reusable_pool._kept.pool.terminate()


def square(number: int) -> int:
    return number * number


def pid_of_worker(_: object = None) -> int:
    return os.getpid()


def raise_in_initializer() -> None:
    raise LookupError("no such table")


def test_the_same_pool_comes_back_as_long_as_it_fits(context: Any) -> None:
    pool = get_reusable_pool(2, context=context)
    assert isinstance(pool, shoal.Pool)
    pids = set(pool.map(pid_of_worker, range(20), 1))
    assert get_reusable_pool(2, context=context) is pool
    assert get_reusable_pool(context=context) is pool
    assert set(pool.map(pid_of_worker, range(20), 1)) | pids <= {process.pid for process in pool._pool}


def test_another_number_of_workers_replaces_it_when_its_calls_are_done() -> None:
    pool = get_reusable_pool(1)
    under_way = pool.map_async(square, range(100), 1)
    other = get_reusable_pool(2)
    assert other is not pool
    assert len(other._pool) == 2
    assert under_way.get(PATIENCE) == [number * number for number in range(100)]
    pool.join()
    assert get_reusable_pool() is other


def test_other_options_replace_it() -> None:
    pool = get_reusable_pool(1)
    assert get_reusable_pool(1, maxtasksperchild=5) is not pool
    pool.join()


@pytest.mark.parametrize("how", ["close", "terminate"])
def test_a_pool_that_was_ended_is_replaced(how: str) -> None:
    pool = get_reusable_pool(1)
    getattr(pool, how)()
    other = get_reusable_pool(1)
    assert other is not pool
    assert other.apply(square, (3,)) == 9
    pool.join()


def test_a_broken_pool_is_replaced() -> None:
    pool = get_reusable_pool(1, initializer=raise_in_initializer)
    with pytest.raises(shoal.WorkerDied):
        pool.apply(square, (3,))
    assert get_reusable_pool(1).apply(square, (3,)) == 9


def test_a_pool_whose_worker_died_is_not_replaced() -> None:
    pool = get_reusable_pool(1)
    with pytest.raises(shoal.WorkerDied):
        pool.apply(os._exit, (3,))
    assert get_reusable_pool(1) is pool
    assert pool.apply(square, (3,)) == 9


def test_a_pool_that_somebody_holds_takes_calls_until_it_is_released() -> None:
    pool = hold_reusable_pool(1)
    assert hold_reusable_pool(1) is pool
    other = get_reusable_pool(2)
    assert other is not pool
    release_reusable_pool(pool)
    assert pool.apply(square, (3,)) == 9
    release_reusable_pool(pool)
    with pytest.raises(ValueError, match="not running"):
        pool.apply(square, (3,))
    pool.join()
    assert get_reusable_pool() is other


def test_a_pool_that_was_held_is_still_kept_after_that() -> None:
    pool = hold_reusable_pool(1)
    release_reusable_pool(pool)
    assert get_reusable_pool(1) is pool


def test_threads_that_ask_at_once_get_one_pool() -> None:
    pools = []
    threads = [threading.Thread(target=lambda: pools.append(get_reusable_pool(2))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(pools) == 8
    assert len(set(map(id, pools))) == 1


def test_a_forked_child_gets_a_pool_of_its_own() -> None:
    pool = get_reusable_pool(1)
    ends = shoal.get_context("fork").SimpleQueue()

    def use_one() -> None:
        own = get_reusable_pool(1)
        ends.put((own is pool, os.getpid(), own.apply(os.getppid)))

    child = shoal.get_context("fork").Process(target=use_one)
    child.start()
    same, pid, parent_of_worker = ends.get()
    child.join(PATIENCE)
    assert (same, child.exitcode) == (False, 0)
    assert parent_of_worker == pid == child.pid
    assert get_reusable_pool(1) is pool
    assert pool.apply(square, (3,)) == 9


def test_wrong_options_are_errors_and_leave_nothing_behind() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        get_reusable_pool(0)
    with pytest.raises(TypeError):
        get_reusable_pool(1, color="red")
    assert get_reusable_pool(1).apply(square, (3,)) == 9


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("state", ["idle", "busy", "broken"])
def test_a_program_that_keeps_one_ends(
    run: Callable[..., Any], program: Callable[..., Path], method: str, state: str
) -> None:
    program(
        f"""
        import os, sys, time
        import shoal

        def fail():
            sys.stderr.close()
            os._exit(3)

        if __name__ == "__main__":
            broken = "{state}" == "broken"
            pool = shoal.get_reusable_pool(
                2, context=shoal.get_context("{method}"), initializer=fail if broken else None
            )
            try:
                print(pool.map(abs, range(3)))
            except shoal.WorkerDied:
                print("broken")
            if "{state}" == "busy":
                results = [pool.apply_async(time.sleep, (60,)) for _ in range(10)]
        """
    )
    ended = run("-X", "dev", "-W", "ignore::DeprecationWarning", "program.py")  # of forks among threads
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out == ("broken\n" if state == "broken" else "[0, 1, 2]\n")

"""Programs that give tasks limits, call them off, retry them and nest pools, while things go wrong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from pool_hazard_support import hazard, kill_self, marks, outcome, sleep_long, square, wait_until
from process_support import has_ended


def deaf(*_: object) -> None:
    """Sleep, with all signals that can be blocked blocked."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
    sleep_long()


def die_at_first(number: int) -> int:
    """Kill the process, but the first time only."""
    if not Path(f"died-{number}").exists():
        Path(f"died-{number}").touch()
        kill_self()
    return number


def nested(number: int) -> list[int]:
    import shoal

    with shoal.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(number), 1)


def nested_long(*_: object) -> None:
    import shoal

    with shoal.get_context("fork").Pool(2) as pool:
        pool.map(sleep_long, range(2), 1)


@hazard("TaskTimeoutError [0, 1, 4] 16")
def time_limit_of_a_task_that_blocks_signals(context: Any) -> str:
    with context.Pool(2) as pool:
        late = pool.apply_async(deaf, timeout=0.05)
        return f"{outcome(late.get)} {pool.map(square, range(3))} {pool.apply(square, (4,))}"


@hazard("20 late, 100 done")
def time_limits_among_other_tasks(context: Any) -> str:
    with context.Pool(2) as pool:
        late = [pool.apply_async(sleep_long, timeout=0.02) for _ in range(20)]
        squares = pool.map(square, range(100), 1)
        found = [outcome(result.get) for result in late]
        return f"{found.count('TaskTimeoutError')} late, {len(squares)} done"


@hazard("3 late, then [0, 1, 4]")
def time_limit_of_a_whole_pool(context: Any) -> str:
    with context.Pool(2, timeout=0.1) as pool:
        found = [outcome(pool.apply, sleep_long) for _ in range(3)]
        return f"{found.count('TaskTimeoutError')} late, then {pool.map(square, range(3))}"


@hazard("CancelledError 16")
def running_call_cancelled(context: Any) -> str:
    with context.Pool(1) as pool:
        result = pool.apply_async(deaf)
        wait_until(lambda: marks("asleep"))
        result.cancel()
        return f"{outcome(result.get)} {pool.apply(square, (4,))}"


@hazard("12 cancelled, 16 joined")
def calls_cancelled_in_every_state(context: Any) -> str:
    pool = context.Pool(2)
    results = [pool.apply_async(sleep_long) for _ in range(12)]
    for result in results:
        result.cancel()
    found = [outcome(result.get) for result in results]
    value = pool.apply(square, (4,))
    pool.close()
    pool.join()
    return f"{found.count('CancelledError')} cancelled, {value} joined"


@hazard("cancelled, terminated")
def cancel_during_terminate(context: Any) -> str:
    import threading

    pool = context.Pool(2)
    results = [pool.apply_async(sleep_long) for _ in range(50)]

    def cancel() -> None:
        for result in results:
            result.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    pool.terminate()
    pool.join()
    canceller.join()
    endings = {outcome(result.get) for result in results}
    return "cancelled, terminated" if endings <= {"CancelledError", "ProcessError"} else str(endings)


@hazard("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]")
def retried_tasks_that_kill_their_workers(context: Any) -> str:
    with context.Pool(2) as pool:
        return str(pool.map(die_at_first, range(10), 1, retries=1))


@hazard("WorkerDied 16")
def retries_of_a_task_that_always_kills_its_worker(context: Any) -> str:
    with context.Pool(2) as pool:
        return f"{outcome(lambda: pool.apply(kill_self, retries=3))} {pool.apply(square, (4,))}"


@hazard("[[0, 1, 4], [0, 1, 4], [0, 1, 4], [0, 1, 4]]")
def nested_pools(context: Any) -> str:
    with context.Pool(2) as pool:
        return str(pool.map(nested, [3] * 4, 1))


@hazard("WorkerDied, all gone")
def worker_with_a_pool_of_its_own_killed(context: Any) -> str:
    with context.Pool(1) as pool:
        result = pool.apply_async(nested_long)
        wait_until(lambda: marks("asleep") == 2)
        pool._pool[0].kill()
        found = outcome(result.get)
        inner = [int(path.name.rpartition("-")[2]) for path in Path().glob("asleep-*")]
        wait_until(lambda: all(map(has_ended, inner)))
    return f"{found}, all gone"

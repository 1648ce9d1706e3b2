"""What a pool tells of its workers: tasks, times, bytes, restarts."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from shoal.pool import Insights, WorkerInsight

told: Any = None
go: Any = None


def share(queue: Any, event: Any) -> None:
    global told, go
    told, go = queue, event


def square(number: int) -> int:
    return number * number


def fail(_: Any = None) -> None:
    raise LookupError("no such thing")


def wait_for_go(_: Any = None) -> None:
    told.put(os.getpid())
    go.wait(30)


def work_for(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def slow_start(seconds: float) -> None:
    time.sleep(seconds)


def die(_: Any = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_tasks_and_bytes_are_counted(context: Any) -> None:
    with context.Pool(2) as pool:
        pool.map(square, range(100), chunksize=10)
        pool.apply(len, (b"x" * 1_000_000,))
        pool.apply(bytes, (2_000_000,))
        with pytest.raises(LookupError):
            pool.apply(fail)
        insights = pool.insights()
        pids = [process.pid for process in pool._pool]
    assert [each.worker for each in insights] == [0, 1]
    assert [each.pid for each in insights] == pids
    assert sum(each.tasks for each in insights) == 13
    assert 1_000_000 < sum(each.bytes_in for each in insights) < 1_100_000
    assert 2_000_000 < sum(each.bytes_out for each in insights) < 2_100_000
    assert [each.restarts for each in insights] == [0, 0]


def test_a_worker_is_busy_or_idle(eventually: Callable[..., None]) -> None:
    with shoal.Pool(1) as pool:
        pool.apply(work_for, (0.3,))
        assert pool.insights()[0].busy > 0.29
        eventually(lambda: pool.insights()[0].idle > 0)
        (before,) = pool.insights()
        eventually(lambda: pool.insights()[0].idle > before.idle + 0.2)
        (after,) = pool.insights()
    assert after.busy - before.busy < 0.1


def test_the_task_that_is_running_counts_as_busy() -> None:
    queue, event = shoal.Queue(), shoal.Event()
    with shoal.Pool(1, share, (queue, event)) as pool:
        result = pool.apply_async(wait_for_go)
        queue.get(timeout=30)
        (before,) = pool.insights()
        time.sleep(0.2)
        (after,) = pool.insights()
        event.set()
        result.get(30)
    assert after.busy - before.busy > 0.15
    assert after.idle == before.idle


def test_the_start_up_includes_the_initializer() -> None:
    with shoal.Pool(1, slow_start, (0.2,)) as pool:
        assert pool.insights()[0].startup is None
        pool.apply(square, (3,))
        startup = pool.insights()[0].startup
    assert startup is not None
    assert 0.2 < startup < 20


def test_restarts_are_counted_and_what_was_done_before_stays() -> None:
    with shoal.Pool(1, maxtasksperchild=2) as pool:
        pool.map(square, range(5), chunksize=1)
        with pytest.raises(shoal.WorkerDied):
            pool.apply(die)
        assert pool.apply(square, (3,)) == 9
        (insight,) = pool.insights()
    assert (insight.tasks, insight.restarts) == (6, 3)


def test_insights_can_be_had_of_a_pool_that_has_ended() -> None:
    pool = shoal.Pool(1)
    pool.map(square, range(7), chunksize=1)
    pool.close()
    pool.join()
    (insight,) = pool.insights()
    assert (insight.worker, insight.pid, insight.tasks) == (0, None, 7)
    busy = insight.busy
    assert pool.insights()[0].busy == busy


def test_times_add_up() -> None:
    began = time.monotonic()
    with shoal.Pool(2) as pool:
        pool.map(work_for, [0.01] * 20, chunksize=1)
        insights = pool.insights()
        passed = time.monotonic() - began
    assert all(each.busy + each.idle <= passed for each in insights)
    assert sum(each.busy for each in insights) >= 0.2


def test_a_record_cannot_be_changed() -> None:
    with shoal.Pool(1) as pool:
        (insight,) = pool.insights()
    with pytest.raises(dataclasses.FrozenInstanceError):
        insight.tasks = 3  # type: ignore[misc]


def test_as_text_it_is_a_table() -> None:
    insights = Insights(
        [
            WorkerInsight(0, 4711, 2, 1234, 3.0, 1.0, 0.0123, 3 << 30, 900),
            WorkerInsight(1, None, 0, 0, 0.0, 0.0, None, 0, 0),
        ]
    )
    table = [re.split("  +", line.strip()) for line in str(insights).splitlines()]
    assert table == [
        ["worker", "pid", "tasks", "busy", "idle", "start-up", "in", "out", "restarts"],
        ["0", "4711", "1234", "3.00 s (75%)", "1.00 s (25%)", "12.3 ms", "3 GiB", "900 bytes", "2"],
        ["1", "-", "0", "0.00 s", "0.00 s", "-", "0 bytes", "0 bytes", "0"],
    ]
    assert len({len(line) for line in str(insights).splitlines()}) == 1

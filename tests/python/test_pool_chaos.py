"""Workers killed every few milliseconds: each task is returned once, or reported as died once."""

from __future__ import annotations

import pool_chaos
import pytest


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", list(pool_chaos.WAYS))
def test_each_task_has_one_outcome_while_workers_are_killed(method: str, way: str) -> None:
    assert pool_chaos.run(method, way, tasks=10_000, every=0.004) == ""

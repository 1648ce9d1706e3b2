"""Workers killed every few milliseconds: each task is returned once, or reported as died once."""

from __future__ import annotations

import pool_chaos
import pytest
from pool_hazard_support import METHODS

# Seconds from kill to kill. Each costs the start of a worker.
EVERY = {"fork": 0.004, "forkserver": 0.01, "spawn": 0.03}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", list(pool_chaos.WAYS))
def test_each_task_has_one_outcome_while_workers_are_killed(method: str, way: str) -> None:
    assert pool_chaos.run(method, way, tasks=3000, every=EVERY[method]) == ""

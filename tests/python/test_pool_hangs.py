"""Nothing hangs a pool: programs that have hung others, with every start method, and the end of their owner."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pool_hazards
import pytest
from pool_hazard_support import METHODS

PATIENCE = 30.0


# More programs at a time than there are processors, because they mostly wait.
AT_A_TIME = 4


@pytest.fixture(scope="module")
def printed(request: pytest.FixtureRequest) -> Iterator[dict[tuple[str, str], Future[str]]]:
    """What the programs of the tests that were chosen print, by case and start method."""
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    programs = [(params["case"], params["method"]) for params in chosen if {"case", "method"} <= params.keys()]
    with ThreadPoolExecutor(AT_A_TIME) as runner:
        yield {(case, method): runner.submit(pool_hazards.run, "shoal", method, case) for case, method in programs}
        runner.shutdown(cancel_futures=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", list(pool_hazards.HAZARDS))
def test_a_program_that_hangs_other_pools_ends(printed: Any, case: str, method: str) -> None:
    assert printed[case, method].result() == pool_hazards.HAZARDS[case].expected


OWNER = """
    import os, sys, time
    import shoal

    def compute(seconds):
        open(f"busy-{os.getpid()}", "w").close()
        while True:
            pass

    def sleep(seconds):
        open(f"busy-{os.getpid()}", "w").close()
        time.sleep(600)

    def stuff(_):
        open(f"busy-{os.getpid()}", "w").close()
        return bytes(1 << 20)

    if __name__ == "__main__":
        pool = shoal.get_context(sys.argv[1]).Pool(2)
        if sys.argv[2] == "idle":
            pool.map(abs, range(10), 1)
        else:
            tasks = {"computing": compute, "sleeping": sleep, "sending": stuff}
            results = pool.imap_unordered(tasks[sys.argv[2]], iter(int, 1))
            while sum(name.startswith("busy-") for name in os.listdir()) < 2:
                time.sleep(0.005)
        print(*[worker.pid for worker in pool._pool], flush=True)
        for _ in results if sys.argv[2] == "sending" else ():
            pass
        time.sleep(600)
"""


@pytest.fixture
def owner(program: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[[str, str], Any]]:
    """owner(method, doing): a program with a pool whose workers do that, and their pids."""
    started: list[subprocess.Popen[str]] = []

    def start(method: str, doing: str) -> tuple[subprocess.Popen[str], list[int]]:
        command = [sys.executable, str(program(OWNER)), method, doing]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout is not None
        return process, [int(word) for word in process.stdout.readline().split()]

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("doing", ["idle", "sleeping", "computing", "sending"])
@pytest.mark.parametrize("method", METHODS)
def test_workers_end_with_an_owner_that_is_killed(owner: Any, method: str, doing: str) -> None:
    process, pids = owner(method, doing)
    assert len(pids) == 2
    workers = [os.pidfd_open(pid) for pid in pids]
    process.kill()
    try:
        poll = select.poll()
        for worker in workers:
            poll.register(worker, select.POLLIN)
        deadline = time.monotonic() + PATIENCE
        left = set(workers)
        while left:
            assert time.monotonic() < deadline, f"{len(left)} of the workers live on"
            for worker, _ in poll.poll(1000):
                poll.unregister(worker)
                left.discard(worker)
    finally:
        for worker in workers:
            os.close(worker)

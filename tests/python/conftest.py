"""What tests of several concepts use."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal

# No test waits longer than this for anything; on a loaded machine a fresh interpreter takes a second to start.
PATIENCE = 30.0


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def context(request: pytest.FixtureRequest) -> Any:
    """The test runs once with each start method."""
    return shoal.get_context(request.param)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """eventually(condition): wait until it holds, with a bound."""

    def wait_for(condition: Callable[[], object], what: str = "the condition") -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true in {PATIENCE} s"
            time.sleep(0.005)

    return wait_for


class Ended:
    """How a program that was run ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ended]:
    """run("-m", "shoal", ...): what that command line of this Python does, run in tmp_path."""

    def run_python(*arguments: str, stdin: str = "", cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Ended:
        ended = subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run_python


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """program("text", "name.py"): a file in tmp_path with that text."""

    def write(text: str, name: str = "program.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def no_leaks(eventually: Callable[..., None]) -> Iterator[None]:
    """The test leaves as many descriptors and children of this process as there were before."""
    import gc

    def census() -> tuple[int, int]:
        gc.collect()
        return len(os.listdir("/proc/self/fd")), len(shoal.active_children())

    # What is made once for the whole process: its own pidfd, the arena of locks.
    shoal.Lock()
    child = shoal.Process()
    child.start()
    child.join()
    del child
    before = census()
    yield
    eventually(lambda: census() <= before, f"a return to {before} descriptors and children")

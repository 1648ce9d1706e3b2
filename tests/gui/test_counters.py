"""The counters in Python: a window shows what a worker counts, and closing it ends both."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import Start
from counters import ENDINGS, assert_it_counts_and_ends
from programs import COUNTERS, exists
from screen import wait_until

COMMANDS = {
    "gtk4": [COUNTERS / "gtk4.py"],
    "qt6": [COUNTERS / "qt6.py"],
    "tk": [COUNTERS / "tk.py"],
    "old idiom": [COUNTERS / "old_idiom_gtk4.py"],
    "old idiom on Shoal": ["-m", "shoal", COUNTERS / "old_idiom_gtk4.py"],
}

FLOODS = [[COUNTERS / "flood_gtk4.py", 10**9], [COUNTERS / "flood_qt6.py", 10**9]]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("counter", COMMANDS)
def test_the_counter_counts_in_its_window_and_ends(start: Start, counter: str, ending: str) -> None:
    assert_it_counts_and_ends(start(sys.executable, *COMMANDS[counter]), ending)


def test_the_old_idiom_s_queues_are_shoal_s_under_its_alias(start: Start) -> None:
    program = start(sys.executable, *COMMANDS["old idiom on Shoal"])
    program.numbers(1)
    assert "shoal:queue" in Path(f"/proc/{program.pid}/maps").read_text()


@pytest.mark.parametrize("counter", [name for name in COMMANDS if name != "old idiom"])
def test_a_worker_ends_though_its_window_was_killed(start: Start, counter: str) -> None:
    program = start(sys.executable, *COMMANDS[counter])
    program.numbers(1)
    workers = program.workers()
    os.kill(program.pid, signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    for worker in workers:
        wait_until(lambda worker=worker: not exists(worker), f"worker {worker} has ended")


@pytest.mark.parametrize("command", [*COMMANDS.values(), *FLOODS], ids=[*COMMANDS, "flood gtk4", "flood qt6"])
def test_ctrl_c_in_the_terminal_ends_window_and_worker_without_a_word(start: Start, command: list[object]) -> None:
    program = start(sys.executable, *command)
    program.numbers(1)
    workers = program.workers()
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == -signal.SIGINT, program.err
    for worker in workers:
        wait_until(lambda worker=worker: not exists(worker), f"worker {worker} has ended")
    assert program.out == ""
    assert "Traceback" not in program.err

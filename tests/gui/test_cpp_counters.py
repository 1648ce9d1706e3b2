"""The counters in C++: what shows them is gtkmm, Qt, Asio or epoll."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from conftest import Start, StartInTerminal
from counters import ENDINGS, assert_it_counts_and_ends
from programs import ROOT, children, exists
from screen import wait_until
from terminals import Terminal


def built(program: str) -> Path:
    path = ROOT / "build/dev/examples/counter" / program
    assert path.exists(), f"{path} has not been built: make build"
    return path


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("toolkit", ["gtkmm4", "qt6"])
def test_the_counter_counts_in_its_window_and_ends(start: Start, toolkit: str, ending: str) -> None:
    assert_it_counts_and_ends(start(built(toolkit)), ending)


def number_above(seen: int, terminal: Terminal) -> int | None:
    found = re.match(r"\d+", terminal.lines[0])
    return int(found[0]) if found and int(found[0]) > seen else None


@pytest.mark.parametrize("key", ["\n", "\x03"], ids=["enter", "ctrl-c"])
@pytest.mark.parametrize("loop", ["asio", "epoll"])
def test_the_counter_counts_in_its_terminal_and_ends(start_in_terminal: StartInTerminal, loop: str, key: str) -> None:
    terminal = start_in_terminal(built(loop))
    seen = 0
    for _ in range(4):
        seen = terminal.wait_for(partial(number_above, seen), "a larger number")
    (worker,) = children(terminal.pid)
    terminal.type(key)
    assert terminal.wait() == 0, terminal.lines
    wait_until(lambda: not exists(worker), "the worker has ended")
    assert b"the worker exited with code 0" in terminal.printed

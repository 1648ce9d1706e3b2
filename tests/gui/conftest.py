"""What the tests of user interfaces are given: a screen and a terminal, and programs in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from programs import Program
from screen import Screen
from terminals import Terminal


class Start(Protocol):
    def __call__(self, *command: object) -> Program: ...


class StartInTerminal(Protocol):
    def __call__(self, *command: object) -> Terminal: ...


@pytest.fixture(scope="session")
def screen() -> Iterator[Screen]:
    """A screen that no program is on yet."""
    screen = Screen()
    yield screen
    screen.close()


@pytest.fixture
def start(screen: Screen, tmp_path: Path) -> Iterator[Start]:
    """Starts a program with a window. It is killed after the test, unless it has ended."""
    programs: list[Program] = []

    def start(*command: object) -> Program:
        assert not programs, "one program at a time"
        programs.append(Program(screen, tmp_path, [str(word) for word in command]))
        return programs[0]

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def start_in_terminal(tmp_path: Path) -> Iterator[StartInTerminal]:
    """Starts a program in a terminal. It is killed after the test, unless it has ended."""
    terminals: list[Terminal] = []

    def start(*command: object) -> Terminal:
        terminals.append(Terminal(tmp_path, [str(word) for word in command]))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.kill()

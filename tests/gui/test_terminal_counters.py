"""The counters in Python that need no window: in Textual, and in asyncio."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from typing import Any

import pytest
import shoal
from conftest import StartInTerminal
from programs import COUNTERS, children, exists
from screen import PATIENCE, wait_until
from terminals import Terminal
from textual.renderables.digits import DIGITS, DIGITS3X3
from textual.widgets import Digits


def large_number(terminal: Terminal) -> int | None:
    """The number that Textual has drawn with characters, each digit three lines high and three columns wide."""
    glyphs = {"".join(row.ljust(3) for row in DIGITS3X3[3 * n : 3 * n + 3]): DIGITS[n] for n in range(1, 11)}
    for rows in zip(terminal.lines, terminal.lines[1:], terminal.lines[2:], strict=False):
        left = min(len(row) - len(row.lstrip()) for row in rows)
        right = max(len(row.rstrip()) for row in rows)
        cells = ["".join(row[at : at + 3].ljust(3) for row in rows) for at in range(left, right, 3)]
        if cells and all(cell in glyphs for cell in cells):
            return int("".join(glyphs[cell] for cell in cells))
    return None


def number_in_line(terminal: Terminal) -> int | None:
    found = re.match(r"\d+", terminal.lines[0])
    return int(found[0]) if found else None


def larger(number: int | None, than: int) -> int | None:
    return number if number and number > than else None


@pytest.mark.parametrize(
    ("program", "number", "key"),
    [
        ("textual_app", large_number, "\x1b"),
        ("asyncio_counter", number_in_line, "\n"),
        ("asyncio_counter", number_in_line, "\x03"),
    ],
    ids=["textual-escape", "asyncio-enter", "asyncio-ctrl-c"],
)
def test_the_counter_counts_in_its_terminal_and_ends(
    start_in_terminal: StartInTerminal, program: str, number: Any, key: str
) -> None:
    # What is read while a number is being drawn may be another one, but not larger and larger.
    terminal = start_in_terminal(sys.executable, COUNTERS / f"{program}.py")
    seen = 0
    for _ in range(4):
        seen = terminal.wait_for(lambda terminal, seen=seen: larger(number(terminal), seen), "a larger number")
    (worker,) = children(terminal.pid)
    terminal.type(key)
    assert terminal.wait() == 0, terminal.lines
    wait_until(lambda: not exists(worker), "the worker has ended")
    assert b"Traceback" not in terminal.printed


@pytest.mark.parametrize("ending", ["key", "click"])
def test_textual_s_counter_shows_what_is_in_the_queue(ending: str) -> None:
    spec = importlib.util.spec_from_file_location("textual_app", COUNTERS / "textual_app.py")
    assert spec
    assert spec.loader
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    numbers: shoal.Queue[int] = shoal.Queue()

    async def use() -> None:
        app = program.Counter(numbers)
        async with app.run_test() as pilot:
            for number in (5, 29):
                numbers.put(number)
                while app.query_one(Digits).value != str(number):
                    await pilot.pause(0.01)
            if ending == "key":
                await pilot.press("escape")
            else:
                await pilot.click("Button")
            while app.is_running:
                await pilot.pause(0.01)

    asyncio.run(asyncio.wait_for(use(), PATIENCE))

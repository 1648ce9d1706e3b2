"""progress=True of a pool's methods: what is shown, and that it does not get in the way of the results."""

from __future__ import annotations

import io
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import shoal
from shoal import _progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class GoneTerminal(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


class RecordingBar:
    """Stands for tqdm.tqdm."""

    made: list[RecordingBar]

    def __init__(self, total: int | None = None, desc: str = "", **_: Any) -> None:
        self.total = total
        self.desc = desc
        self.count = 0
        self.closed = 0
        self.made.append(self)

    def update(self, n: int) -> None:
        assert not self.closed
        self.count += n

    def close(self) -> None:
        self.closed += 1


def square(number: int) -> int:
    return number * number


def power(base: int, exponent: int) -> int:
    return int(base**exponent)


def fail_at_three(number: int) -> int:
    if number == 3:
        raise LookupError("three")
    return number


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[RecordingBar]:
    """The progress bars that are made, as if tqdm was installed."""
    RecordingBar.made = []
    module = types.ModuleType("tqdm")
    module.tqdm = RecordingBar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", module)
    return RecordingBar.made


@pytest.fixture
def no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    with shoal.Pool(2) as shared:
        yield shared


def call(pool: Any, method: str, progress: bool) -> Any:
    if method.startswith("starmap"):
        result = getattr(pool, method)(power, [(number, 2) for number in range(50)], 7, progress=progress)
    else:
        result = getattr(pool, method)(square, range(50), 7, progress=progress)
    if method.endswith("async"):
        return result.get(30)
    return sorted(result)


METHODS = ["map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered"]


@pytest.mark.parametrize("method", METHODS)
def test_a_bar_counts_the_items(pool: Any, method: str, bars: list[RecordingBar]) -> None:
    assert call(pool, method, True) == [number * number for number in range(50)]
    (bar,) = bars
    assert (bar.total, bar.count, bar.closed) == (50, 50, 1)
    assert bar.desc == f"{method}({'power' if 'star' in method else 'square'})"


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_shown_unasked(pool: Any, method: str, bars: list[RecordingBar]) -> None:
    call(pool, method, False)
    assert bars == []


def test_what_is_not_there_yet_has_no_total_in_imap(pool: Any, bars: list[RecordingBar]) -> None:
    assert list(pool.imap(square, iter(range(10)), progress=True)) == [number * number for number in range(10)]
    (bar,) = bars
    assert (bar.total, bar.count, bar.closed) == (None, 10, 1)


def test_a_bar_is_closed_when_a_task_fails(pool: Any, bars: list[RecordingBar]) -> None:
    with pytest.raises(LookupError, match="three"):
        pool.map(fail_at_three, range(10), 1, progress=True)
    (bar,) = bars
    assert bar.closed == 1


def test_a_bar_is_closed_when_the_pool_is_terminated(bars: list[RecordingBar]) -> None:
    with shoal.Pool(1) as pool:
        result = pool.map_async(square, range(3), progress=True)
        result.wait(30)
        results = pool.imap(square, iter(int, 1), progress=True)
        next(results)
    assert [bar.closed for bar in bars] == [1, 1]


@pytest.mark.usefixtures("no_tqdm")
def test_without_tqdm_there_is_a_line(pool: Any, capfd: pytest.CaptureFixture[str]) -> None:
    pool.map(square, range(50), progress=True)
    printed = capfd.readouterr().err
    assert re.fullmatch(r"map\(square\): 50/50 \(100%\), in \d+\.\d s(, [\d.e+]+/s)?\n", printed)


# The line


def test_a_line_says_how_far_and_how_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    terminal = Terminal()
    line = _progress.Line(200, "map(f)", terminal)
    clock[0] += 10
    line.update(50)
    clock[0] += 65
    line.update(100)
    clock[0] += 25
    line.update(50)
    line.close()
    assert [text.rstrip() for text in terminal.getvalue().split("\r")] == [
        "",
        "map(f): 0/200 (0%), 0.0 s so far",
        "map(f): 50/200 (25%), 10 s so far, 5/s, 30 s to go",
        "map(f): 150/200 (75%), 1:15 so far, 2/s, 25 s to go",
        "map(f): 200/200 (100%), 1:40 so far, 2/s",
        "map(f): 200/200 (100%), in 1:40, 2/s",
    ]
    assert terminal.getvalue().endswith("\n")


def test_a_line_is_written_over_whole() -> None:
    terminal = Terminal()
    line = _progress.Line(None, "imap(f)", terminal)
    line.update(5)
    line.close()
    lengths = [len(text) for text in terminal.getvalue().rstrip("\n").split("\r")[1:]]
    assert lengths == sorted(lengths)


def test_a_terminal_is_not_flooded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    terminal = Terminal()
    line = _progress.Line(10_000, "map(f)", terminal)
    for _ in range(10_000):
        clock[0] += 0.0001
        line.update(1)
    line.close()
    assert terminal.getvalue().count("\r") <= 12


def test_what_is_no_terminal_gets_the_last_line_alone() -> None:
    file = io.StringIO()
    line = _progress.Line(3, "map(f)", file)
    for _ in range(3):
        line.update(1)
    assert file.getvalue() == ""
    line.close()
    line.close()
    line.update(1)
    assert file.getvalue().count("\n") == 1
    assert file.getvalue().startswith("map(f): 3/3 (100%), in 0.0 s")


@pytest.mark.parametrize("stream", [None, GoneTerminal()])
def test_a_stream_that_is_gone_is_no_error(monkeypatch: pytest.MonkeyPatch, stream: Any) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    line = _progress.Line(3, "map(f)")
    line.update(3)
    line.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.26, "0.3 s"), (9.96, "10.0 s"), (59, "59 s"), (125, "2:05"), (3725, "1:02:05")]
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert _progress.in_time(seconds) == text

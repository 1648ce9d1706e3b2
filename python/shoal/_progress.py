"""Showing how far a call of a pool has got: by tqdm where it is installed, in a plain line on stderr elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol, TextIO

    class Progress(Protocol):
        def update(self, n: int = 1) -> object: ...

        def close(self) -> object: ...


# A terminal is written to this often at most: nobody reads faster, and tasks may be much faster.
SECONDS_BETWEEN_LINES = 0.1


def start(total: int | None, description: str) -> Progress:
    """Begin to show progress from 0 to `total` (None: nobody knows), with `description` in front.

    `update(n)` counts `n` more, `close()` shows the last state and leaves it there. Both are quick, may be called by
    any thread, and do nothing after the first `close`.
    """
    import importlib

    try:
        tqdm: Any = importlib.import_module("tqdm.auto" if "ipykernel" in sys.modules else "tqdm")
    except ImportError:
        return Line(total, description)
    return Bar(tqdm.tqdm(total=total, desc=description, unit="item", mininterval=SECONDS_BETWEEN_LINES))


class Bar:
    """One of tqdm's, which itself is for one thread."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._closed = False

    def update(self, n: int = 1) -> None:
        with self._lock:
            if not self._closed:
                try:
                    self._bar.update(n)
                except Exception:
                    self._closed = True  # the reader has gone, say; that must not hurt the work

    def close(self) -> None:
        import contextlib

        with self._lock:
            if not self._closed:
                self._closed = True
                with contextlib.suppress(Exception):
                    self._bar.close()


class Line:
    """A line of text, written over while there is progress if stderr is a terminal; otherwise only the last one."""

    def __init__(self, total: int | None, description: str, stream: TextIO | None = None) -> None:
        self._total = total
        self._description = description
        self._stream = sys.stderr if stream is None else stream
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._next = self._began  # when there may be another line
        self._width = 0
        self._done = 0
        self._closed = False
        self._is_terminal = _is_terminal(self._stream)
        self.update(0)

    def update(self, n: int = 1) -> None:
        with self._lock:
            self._done += n
            now = time.monotonic()
            if self._is_terminal and now >= self._next and not self._closed:
                self._next = now + SECONDS_BETWEEN_LINES
                self._write(self._text(now), "")

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._write(self._text(time.monotonic()), "\n")

    def _write(self, text: str, end: str) -> None:
        if self._stream is None:
            return
        over = ""
        if self._is_terminal:
            over = "\r"
            text = text[: _columns(self._stream) - 1]  # what runs into the next line cannot be written over
        try:
            self._stream.write(f"{over}{text:<{self._width}}{end}")
            self._stream.flush()
        except (OSError, ValueError):
            return  # the reader has gone; that must not hurt the work
        self._width = len(text)

    def _text(self, now: float) -> str:
        seconds = now - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        parts = [f"{self._description}: {self._done}"]
        if self._total:
            parts[0] += f"/{self._total} ({100 * self._done // self._total}%)"
        parts.append(f"{in_time(seconds)} so far" if not self._closed else f"in {in_time(seconds)}")
        if rate > 0:
            parts.append(f"{rate:.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if rate > 0 and self._total is not None and self._done < self._total and not self._closed:
            parts.append(f"{in_time((self._total - self._done) / rate)} to go")
        return ", ".join(parts)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False  # it is closed


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def in_time(seconds: float) -> str:
    """A time as 0.3 s, 45 s, 2:05, 1:02:05."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

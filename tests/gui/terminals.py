"""A terminal, and programs that run in it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyte
from programs import environment
from screen import PATIENCE

T = TypeVar("T")

LINES, COLUMNS = 24, 80


class Terminal:
    """A program in a terminal of its own, whose screen can be read while it runs."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self._screen)
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            command,
            env=environment(folder, TERM="xterm-256color"),
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # Whoever controls the terminal gets a SIGINT for Ctrl-C.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.pid = self._process.pid
        self.printed = b""

    def _read(self, timeout: float) -> bool:
        """Take in what the program prints. False once it and its children have closed the terminal."""
        if select.select([self._end], [], [], timeout)[0]:
            try:
                data = os.read(self._end, 65536)
            except OSError:  # how Linux says so
                return False
            self.printed += data
            self._stream.feed(data)
        return True

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return list(self._screen.display)

    def wait_for(self, condition: Callable[[Terminal], T | None], what: str, timeout: float = PATIENCE) -> T:
        """What `condition` returns once that is true, asked for whenever something is printed."""
        deadline = time.monotonic() + timeout
        while True:
            outcome = condition(self)
            if outcome:
                return outcome
            going_on = self._read(0.1)
            seen = "\n".join(line for line in self.lines if line.strip())
            assert going_on, f"it ended: {what}\n{seen}"
            assert time.monotonic() < deadline, f"waited for {timeout:.0f} s: {what}\n{seen}"

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def wait(self, timeout: float = PATIENCE) -> int:
        """The program's exit code, once it and its children have closed the terminal."""
        deadline = time.monotonic() + timeout
        while self._read(0.1):
            assert time.monotonic() < deadline, f"still there after {timeout:.0f} s\n" + "\n".join(self.lines)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Hang up, and end the program unless it has ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._end)

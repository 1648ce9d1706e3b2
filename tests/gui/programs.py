"""Programs with a window or in a terminal, under test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from digits import read_number
from PIL import Image
from screen import PATIENCE, Screen, Window, wait_until

ROOT = Path(__file__).resolve().parents[2]
COUNTERS = ROOT / "examples/counter"


def environment(home: Path, **others: str) -> dict[str, str]:
    """What a program finds in its environment: nothing of the desktop that the tests may have been started from."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Toolkits draw into the X server, without a graphics card, and look for no service of a desktop.
        "GDK_BACKEND": "x11",
        "GSK_RENDERER": "cairo",
        "GSETTINGS_BACKEND": "memory",
        "GTK_A11Y": "none",
        "QT_QPA_PLATFORM": "xcb",
        **others,
    }


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet waited for."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def exists(pid: int) -> bool:
    """Whether the process runs. One that has ended and is only not yet waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class Program:
    """A program that was started with a window of its own on an otherwise empty screen.

    What it prints goes to files in `folder`; `settings` are for its environment.
    """

    def __init__(self, screen: Screen, folder: Path, command: list[str], **settings: str) -> None:
        self._screen = screen
        self._files = folder / "out", folder / "err"
        with open(self._files[0], "wb") as out, open(self._files[1], "wb") as err:
            self._process = subprocess.Popen(
                command,
                env=environment(folder, DISPLAY=screen.name, **settings),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def out(self) -> str:
        return self._files[0].read_text()

    @property
    def err(self) -> str:
        return self._files[1].read_text()

    def _await(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds, while the program runs. AssertionError with what it printed, if it does not."""

        def holds_or_ended() -> bool:
            return bool(condition()) or self._process.poll() is not None

        wait_until(holds_or_ended, f"{what}\n{self.out}{self.err}")
        assert self._process.poll() is None, f"ended with {self._process.poll()}\n{self.out}{self.err}"

    def window(self) -> Window:
        """The largest window on the screen, once there is one."""
        self._await(self._screen.windows, "a window")
        return self._screen.windows()[0]

    def picture(self) -> Image.Image:
        return self.window().picture()

    def number(self) -> int | None:
        """The number that is to be read in the window now; None if there is none."""
        windows = self._screen.windows()
        return read_number(windows[0].picture()) if windows else None

    def numbers(self, count: int) -> list[int]:
        """`count` numbers that were seen in the window one after the other, each larger than the one before."""
        seen: list[int] = []

        def enough_were_seen() -> bool:
            number = self.number()
            if number is not None and number > max(seen, default=-1):
                seen.append(number)
            return len(seen) == count

        self._await(enough_were_seen, f"{count} larger and larger numbers in the window")
        return seen

    def workers(self) -> list[int]:
        """Its children."""
        self._await(lambda: children(self.pid), "a child")
        return children(self.pid)

    def press(self, key: str) -> None:
        self.window().press(key)

    def click(self, x: int, y: int) -> None:
        """Click at a place in the window; negative coordinates count from the right and from below."""
        self.window().click(x, y)

    def close(self) -> None:
        """Close the window as a window manager does."""
        self.window().close()

    def wait(self, timeout: float = PATIENCE) -> int:
        """The program's exit code, once it has ended and its window is gone. AssertionError if it does not end."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {timeout:.0f} s\n{self.out}{self.err}") from None
        wait_until(lambda: not self._screen.windows(), "its window vanishes")
        return status

    def kill(self) -> None:
        """End it and its children, unless they have ended."""
        if self._process.poll() is None:
            for pid in (self.pid, *children(self.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
        wait_until(lambda: not self._screen.windows(), "its window vanishes")

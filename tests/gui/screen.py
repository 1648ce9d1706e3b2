"""A screen in memory, and what a user does with it: look at a window, press a key, click."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

import Xlib.display
import Xlib.error
from PIL import Image
from Xlib import XK, X
from Xlib.ext import xtest
from Xlib.protocol import event

T = TypeVar("T")

# What a slow and loaded machine may take for anything that is waited for.
PATIENCE = 30.0


def wait_until(condition: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
    """What `condition` returns once that is true, asked for again and again. AssertionError if it is not in time."""
    deadline = time.monotonic() + timeout
    while True:
        outcome = condition()
        if outcome:
            return outcome
        assert time.monotonic() < deadline, f"waited for {timeout:.0f} s: {what}"
        time.sleep(0.01)


class Screen:
    """An X server of its own, without a window manager: windows have no frame, and nobody gives them the focus."""

    def __init__(self) -> None:
        read_end, write_end = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "800x600x24", "-nolisten", "tcp", "-noreset"],
            pass_fds=[write_end],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(write_end)
        with open(read_end) as pipe:
            number = pipe.readline().strip()  # written when the server takes clients; empty if it could not start
        assert number, f"Xvfb ended with {self._server.wait()}"
        self.name = f":{number}"
        self._display = Xlib.display.Display(self.name)
        self._root = self._display.screen().root

    def close(self) -> None:
        self._display.close()
        self._server.terminate()
        self._server.wait()

    def windows(self) -> list[Window]:
        """Those that are to be seen, the largest first."""
        found = [Window(self._display, window) for window in self._root.query_tree().children]
        return sorted((window for window in found if window.area > 0), key=lambda window: -window.area)


class Window:
    """The window of a program. Whatever is done raises `Xlib.error.XError` once the window has been closed."""

    def __init__(self, display: Any, window: Any) -> None:
        self._display = display
        self._window = window

    @property
    def size(self) -> tuple[int, int]:
        geometry = self._window.get_geometry()
        return geometry.width, geometry.height

    @property
    def area(self) -> int:
        """In square pixels; 0 if it is not to be seen, closed, or too small for a user."""
        try:
            width, height = self.size
            seen = self._window.get_attributes().map_state == X.IsViewable
        except Xlib.error.XError:
            return 0
        return width * height if seen and width > 50 else 0

    @property
    def title(self) -> str:
        return str(self._window.get_wm_name())

    def picture(self) -> Image.Image:
        """What is in the window at this moment."""
        width, height = self.size
        image = self._window.get_image(0, 0, width, height, X.ZPixmap, 0xFFFFFFFF)
        return Image.frombytes("RGB", (width, height), image.data, "raw", "BGRX")

    def press(self, key: str) -> None:
        """Press and release a key, by its name in X, such as "Escape", after giving the window the focus."""
        code = self._display.keysym_to_keycode(XK.string_to_keysym(key))
        self._window.set_input_focus(X.RevertToParent, X.CurrentTime)
        self._display.sync()
        xtest.fake_input(self._display, X.KeyPress, code)
        xtest.fake_input(self._display, X.KeyRelease, code)
        self._display.sync()

    def click(self, x: int, y: int) -> None:
        """Click with the left button; negative coordinates count from the right and from below."""
        width, height = self.size
        place = self._display.screen().root.translate_coords(self._window, x % width, y % height)
        xtest.fake_input(self._display, X.MotionNotify, x=place.x, y=place.y)
        self._display.sync()
        xtest.fake_input(self._display, X.ButtonPress, 1)
        xtest.fake_input(self._display, X.ButtonRelease, 1)
        self._display.sync()

    def close(self) -> None:
        """Ask the program to close the window, as a window manager does."""
        protocols = self._display.intern_atom("WM_PROTOCOLS")
        data = (32, [self._display.intern_atom("WM_DELETE_WINDOW"), X.CurrentTime, 0, 0, 0])
        self._window.send_event(event.ClientMessage(window=self._window, client_type=protocols, data=data))
        self._display.sync()

"""Event loops, by name, with one face: they call functions while descriptors are readable."""

from __future__ import annotations

import asyncio
import functools
import select
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from libraries import module, not_available

# Where Debian keeps the bindings of toolkits, for its own interpreter and for those with the same binary interface.
DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"

Function = Callable[[], object]


class Loop(Protocol):
    def watch(self, descriptor: int, function: Function) -> None:
        """Call it while the descriptor is readable."""

    def run(self) -> None: ...

    def stop(self) -> None:
        """To be called by a function that the loop calls."""


class EpollLoop:
    """No more than the system call."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._functions: dict[int, Function] = {}
        self._running = True

    def fileno(self) -> int:
        return self._epoll.fileno()

    def watch(self, descriptor: int, function: Function) -> None:
        self._epoll.register(descriptor, select.EPOLLIN)
        self._functions[descriptor] = function

    def call_for_ready(self, timeout: float = 0) -> None:
        for descriptor, _ in self._epoll.poll(timeout):
            self._functions[descriptor]()

    def run(self) -> None:
        while self._running:
            self.call_for_ready(-1)

    def stop(self) -> None:
        self._running = False


class AsyncioLoop:
    def __init__(self, library: str) -> None:
        self._loop: asyncio.AbstractEventLoop = module(library).new_event_loop()
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, descriptor: int, function: Function) -> None:
        self._loop.add_reader(descriptor, function)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """In a task, which is cancelled in the end."""
        self._tasks.append(self._loop.create_task(coroutine))

    def run(self) -> None:
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            self._loop.run_until_complete(asyncio.wait(self._tasks))

    def stop(self) -> None:
        self._loop.stop()


class GlibLoop:
    def __init__(self) -> None:
        glib = _module_of_toolkit("gi.repository.GLib")
        self._loop = glib.MainLoop()
        self._add = functools.partial(glib.unix_fd_add_full, glib.PRIORITY_DEFAULT)
        self._condition = glib.IOCondition.IN

    def watch(self, descriptor: int, function: Function) -> None:
        def readable(*_: object) -> bool:
            function()
            return True

        self._add(descriptor, self._condition, readable)

    def run(self) -> None:
        self._loop.run()

    def stop(self) -> None:
        self._loop.quit()


class QtLoop:
    def __init__(self) -> None:
        self._core = _module_of_toolkit("PyQt6.QtCore")
        self._application = self._core.QCoreApplication([])
        self._notifiers: list[Any] = []

    def watch(self, descriptor: int, function: Function) -> None:
        notifier = self._core.QSocketNotifier(descriptor, self._core.QSocketNotifier.Type.Read)
        notifier.activated.connect(lambda *_: function())
        self._notifiers.append(notifier)

    def run(self) -> None:
        self._application.exec()

    def stop(self) -> None:
        self._application.quit()


class LoopAroundEpoll:
    """A loop that watches one descriptor, that of an epoll instance, which watches the others."""

    def __init__(self, outer: Loop) -> None:
        self._outer = outer
        self._inner = EpollLoop()
        outer.watch(self._inner.fileno(), self._inner.call_for_ready)

    def watch(self, descriptor: int, function: Function) -> None:
        self._inner.watch(descriptor, function)

    def run(self) -> None:
        self._outer.run()

    def stop(self) -> None:
        self._outer.stop()


def _module_of_toolkit(name: str) -> Any:
    sys.path.append(DEBIAN_PACKAGES)
    try:
        return __import__(name, fromlist=["*"])
    except ImportError:
        not_available(name)
    finally:
        sys.path.remove(DEBIAN_PACKAGES)


def make_loop(name: str) -> Loop:
    """epoll, asyncio, uvloop, glib, qt; the last two with `+epoll`: around an epoll instance."""
    match name.split("+"):
        case [outer, "epoll"]:
            return LoopAroundEpoll(make_loop(outer))
        case ["epoll"]:
            return EpollLoop()
        case ["glib"]:
            return GlibLoop()
        case ["qt"]:
            return QtLoop()
        case _:
            return AsyncioLoop(name)

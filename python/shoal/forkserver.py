"""The fork server as its clients see it, as in `multiprocessing.forkserver`.

There is one for a program: children share it. It imports the program's main module, or what `set_forkserver_preload`
says, once for all of them, and dies with the process that has launched it; whoever then wants to start a process
launches another one.
"""

from __future__ import annotations

import os
import threading
from _pickle import dumps

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["ensure_running", "set_forkserver_preload"]

# How often a server may end before it has started anything, until there must be something wrong with it.
_MOST_LAUNCHES = 3


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


class ForkServer:
    """Threads: all methods may be called concurrently. fork: the child shares the server."""

    def __init__(self) -> None:
        self._preload_modules: list[str] = ["__main__"]
        self._lock = threading.RLock()
        self._door: _core.ForkServerDoor | None = None
        self._server: _core.ProcessHandle | None = None  # nothing if another process has launched it
        self._forkserver_pid: int | None = None
        os.register_at_fork(after_in_child=self._become_client)

    def set_forkserver_preload(self, modules_names: Sequence[str]) -> None:
        """Set the modules that the server imports when it is launched. Those that it cannot find it goes without."""
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        self._preload_modules = list(modules_names)

    def ensure_running(self) -> None:
        """Launch the server if there is none. Raises OSError if that cannot be done."""
        with self._lock:
            if self._server is not None and self._server.wait(0) is not None:
                self._forget()
            if self._door is None:
                self._launch()

    def fileno(self) -> int:
        with self._lock:
            assert self._door is not None
            return self._door.fileno()

    def start(self, package: bytes, descriptors: Sequence[int]) -> _core.ProcessHandle:
        """Start a process that receives them, by another server should this one have ended."""
        for _ in range(_MOST_LAUNCHES):
            with self._lock:
                self.ensure_running()
                door = self._door
            assert door is not None
            handle = door.start(package, list(descriptors))
            if handle is not None:
                return handle
            with self._lock:
                server = self._server if self._door is door else None
                if self._door is door:
                    self._forget()
            _see_end_of(server)
        raise _stdlib.context.ProcessError(
            f"the fork server ended {_MOST_LAUNCHES} times before it started anything; what it printed may tell why"
        )

    def share(self, door: int) -> None:
        """In a child of the server: be its client by this descriptor, too."""
        self._become_client()
        self._door = _core.ForkServerDoor(door)

    def _launch(self) -> None:
        from shoal import _command, _preparation

        data = _preparation.of_program()
        message = dumps({**data, "parent": os.getpid(), "preload": self._preload_modules})
        path, arguments = _command.line("_fork_server")
        self._door, self._server = _core.ForkServerDoor.launch(path, arguments, message)
        self._forkserver_pid = self._server.pid

    def _forget(self) -> None:
        self._door = self._server = self._forkserver_pid = None

    def _become_client(self) -> None:
        self._lock = threading.RLock()
        self._server = self._forkserver_pid = None

    def _stop(self) -> None:
        """End the server, for tests."""
        with self._lock:
            server = self._server
            self._forget()
        _see_end_of(server)


def _see_end_of(server: _core.ProcessHandle | None) -> None:
    """Reap a server that has no client any more."""
    if server is not None and server.wait(5.0) is None:
        server.send_signal(9)
        server.wait()


_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
set_forkserver_preload = _forkserver.set_forkserver_preload

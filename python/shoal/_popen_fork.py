"""Starting a process with `fork`, and looking after any child by its pidfd."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any

from shoal import _core, _stdlib


class _SelfReference:
    """This process's pidfd on itself, which its forks inherit to see it end (`parent_process().sentinel`)."""

    def __init__(self) -> None:
        self._pid = 0
        self._descriptor = -1
        self._of_parent = -1

    def descriptor(self) -> int:
        """The pidfd, opened at the first use in each process.

        Raises OSError if no descriptor is left.
        """
        if self._pid != os.getpid():
            self._descriptor = os.pidfd_open(os.getpid())
            self._pid = os.getpid()
        return self._descriptor

    def become_parents(self) -> int:
        """In a new fork: what is the child's own is opened anew, and what has led to the grandparent is of no use."""
        if self._of_parent >= 0:
            os.close(self._of_parent)
        self._of_parent = self._descriptor
        self._pid = 0
        return self._of_parent


self_reference = _SelfReference()


class ChildByPidfd:
    """The half of a Popen that waits and signals, for children of this very process.

    A pidfd cannot be mistaken for another process that got the same pid later, and any event loop can wait for it.
    """

    returncode: int | None
    sentinel: int
    _handle: _core.ProcessHandle
    _owner: int

    def _adopt(self, pid: int) -> None:
        """Take charge of the new child `pid`; kills it if there is no descriptor to watch it by."""
        self._owner = os.getpid()
        try:
            self._handle = _core.ProcessHandle(pid)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        self.sentinel = self._handle.fileno()

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        return self.wait(0 if flag == os.WNOHANG else None)

    def wait(self, timeout: float | None = None) -> int | None:
        # In a fork of the parent the child is a sibling, whose exit code is not to be had.
        if self.returncode is None and self._owner == os.getpid():
            self.returncode = self._handle.wait(None if timeout is None else max(0.0, timeout))
        return self.returncode

    def _send_signal(self, sig: int) -> None:
        if self.returncode is None:
            self._handle.send_signal(sig)


class Popen(ChildByPidfd):
    """A child made by fork. `process` is the BaseProcess to run in it."""

    method = "fork"

    def __init__(self, process: Any) -> None:
        _stdlib.util._flush_std_streams()
        self.returncode = None
        self.finalizer: Any = None
        self._launch(process)

    def duplicate_for_child(self, fd: int) -> int:
        return fd

    def terminate(self) -> None:
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        if self.finalizer is not None:
            self.finalizer()

    def _launch(self, process: Any) -> None:
        self_reference.descriptor()
        pid = os.fork()
        if pid == 0:
            _run_child(process)
        self._adopt(pid)
        self.pid = pid
        self.finalizer = _stdlib.util.Finalize(self, self._handle.close)


def _run_child(process: Any) -> None:
    code = 1
    try:
        # From 3.13 on, functions that the child registers with atexit run at its end, before those of multiprocessing.
        if sys.version_info >= (3, 13):
            atexit._clear()
            atexit.register(_stdlib.util._exit_function)
        code = process._bootstrap(parent_sentinel=self_reference.become_parents())
    finally:
        if sys.version_info >= (3, 13):
            atexit._run_exitfuncs()
        os._exit(code)

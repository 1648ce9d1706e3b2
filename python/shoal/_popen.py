"""Starting a process by each of the start methods, and looking after it by its pidfd."""

from __future__ import annotations

import io
import os
import signal
import sys

from shoal import _bootstrap, _core, _stdlib
from shoal._self_reference import self_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Popen:
    """A process that was started. `process` is the BaseProcess to run in it.

    What `multiprocessing` calls Popen: the methods of a process object come down to these. A pidfd cannot be mistaken
    for another process that got the same pid later, and any event loop can wait for it.

    Starting it may raise OSError, and what pickling raises; then there is no new process.
    """

    method: str

    def __init__(self, process: Any) -> None:
        _bootstrap.flush_std_streams()
        self.returncode: int | None = None
        settings = process._settings
        if settings is None:
            self._handle = self._launch(process, None, None)
        else:
            self._handle = self._launch_with(process, settings)
        self.pid = self._handle.pid
        self.sentinel = self._handle.fileno()
        self._owner = os.getpid()

    def _launch(self, process: Any, settings: dict[str, Any] | None, report: int | None) -> _core.ProcessHandle:
        raise NotImplementedError

    def _launch_with(self, process: Any, settings: dict[str, Any]) -> _core.ProcessHandle:
        from shoal import _settings

        plain = _settings.checked(settings)
        report = _settings.Report()
        try:
            handle = self._launch(process, plain, report.childs_end)
            try:
                report.raise_failure(handle)
            except BaseException:
                handle.send_signal(signal.SIGKILL)
                handle.wait()
                handle.close()  # not when the exception's traceback is dropped
                raise
            return handle
        finally:
            report.close()

    def reap(self) -> int | None:
        """The exit code if it is known already; never waits."""
        if self.returncode is None and self._owner == os.getpid():
            self.returncode = self._handle.reap()
        return self.returncode

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        return self.wait(0 if flag == os.WNOHANG else None)

    def wait(self, timeout: float | None = None) -> int | None:
        # In a fork of the parent the child is a sibling, whose exit code is not to be had.
        if self.returncode is None and self._owner == os.getpid():
            self.returncode = self._handle.wait(None if timeout is None else max(0.0, timeout))
        return self.returncode

    def interrupt(self) -> None:
        self._send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._send_signal(signal.SIGKILL)

    def close(self) -> None:
        self._handle.close()

    def _send_signal(self, number: int) -> None:
        if self.returncode is None:
            self._handle.send_signal(number)


class ForkPopen(Popen):
    """A child made by fork."""

    method = "fork"

    def duplicate_for_child(self, descriptor: int) -> int:
        return descriptor

    def _launch(self, process: Any, settings: dict[str, Any] | None, report: int | None) -> _core.ProcessHandle:
        self_reference.descriptor()
        _bootstrap.prepare_empty_stdin()
        trace_to = _bootstrap.where_to_trace()
        parent = os.getpid() if process.daemon else 0
        handle = _core.fork()
        if handle is None:
            _bootstrap.run_fork(_run_fork, process, parent, trace_to, settings, report)
        return handle


def _run_fork(
    process: Any, parent_of_daemon: int, trace_to: int, settings: dict[str, Any] | None, report: int | None
) -> int:
    _core.unblock_signals()
    if parent_of_daemon:
        _core.die_with_parent(parent_of_daemon)
    parent_sentinel = self_reference.become_parents()
    _bootstrap.close_stdin()
    if settings is not None:
        from shoal import _settings

        assert report is not None
        if not _settings.apply_and_report(settings, report):
            return 1
    _bootstrap.trace_crashes(trace_to)
    code: int = process._bootstrap(parent_sentinel=parent_sentinel)
    return code


class _Received:
    """Pickled for a process that is being started, stands for a descriptor that this process gets."""

    def __init__(self, index: int) -> None:
        self._index = index

    def detach(self) -> int:
        from shoal import _child

        return _child.descriptors[self._index]


class _PackagePopen(Popen):
    """A process that does not share this one's memory: it is sent all it needs."""

    DupFd = _Received

    def __init__(self, process: Any) -> None:
        self._descriptors: list[int] = []
        super().__init__(process)

    def duplicate_for_child(self, descriptor: int) -> int:
        """Have the child get a duplicate of it. Returns what to make a DupFd of."""
        self._descriptors.append(descriptor)
        return len(self._descriptors) - 1

    def _package(self, process: Any, settings: dict[str, Any] | None, report: int | None) -> bytes:
        from shoal import _preparation

        preparation = _preparation.of_child(process)
        if settings is not None:
            assert report is not None
            preparation["settings"] = settings
            preparation["report"] = self.duplicate_for_child(report)
        preparation["parent_sentinel"] = self.duplicate_for_child(self_reference.descriptor())
        preparation["resource_tracker"] = self.duplicate_for_child(_preparation.resource_tracker())
        self._prepare(preparation)
        file = io.BytesIO()
        _stdlib.context.set_spawning_popen(self)
        try:
            _stdlib.reduction.dump(preparation, file)
            _stdlib.reduction.dump(process, file)
        except Exception as error:
            if sys.version_info >= (3, 11):
                error.add_note(
                    f"{process.name} is to be started by {self.method}: function and arguments are sent by pickle. "
                    "Take a function that is defined in a module, or the start method 'fork', which shares all objects."
                )
            raise
        finally:
            _stdlib.context.set_spawning_popen(None)
        return file.getvalue()

    def _prepare(self, preparation: dict[str, Any]) -> None:
        """Add what a start method needs beyond the common."""


class SpawnPopen(_PackagePopen):
    """A child that is a fresh interpreter."""

    method = "spawn"

    def _launch(self, process: Any, settings: dict[str, Any] | None, report: int | None) -> _core.ProcessHandle:
        from shoal import _command

        environment = None
        if settings is not None and "env" in settings:
            environment = [name + b"=" + value for name, value in settings.pop("env").items()]
        package = self._package(process, settings, report)
        path, arguments = _command.line("_child")
        return _core.start_program(path, arguments, environment, package, self._descriptors)


class ForkServerPopen(_PackagePopen):
    """A process forked from the fork server."""

    method = "forkserver"

    def _launch(self, process: Any, settings: dict[str, Any] | None, report: int | None) -> _core.ProcessHandle:
        from shoal.forkserver import _forkserver

        package = self._package(process, settings, report)
        return _forkserver.start(package, self._descriptors)

    def _prepare(self, preparation: dict[str, Any]) -> None:
        from shoal.forkserver import _forkserver

        _forkserver.ensure_running()
        preparation["fork_server"] = self.duplicate_for_child(_forkserver.fileno())

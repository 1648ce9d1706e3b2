"""The errors of Shoal and of multiprocessing; others are Python's own (`queue.Full`, `ValueError`, `OSError`, ...)."""

from __future__ import annotations

import builtins
import sys

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing import AuthenticationError, BufferTooShort, ProcessError, TimeoutError
else:
    AuthenticationError = _stdlib.context.AuthenticationError
    BufferTooShort = _stdlib.context.BufferTooShort
    TimeoutError = _stdlib.context.TimeoutError
    ProcessError = _stdlib.context.ProcessError

if sys.version_info >= (3, 13):
    from queue import ShutDown as ShutDown
else:

    class ShutDown(Exception):  # noqa: N818  its name since Python 3.13
        """Raised by `put` and `get` of a queue that was shut down. From Python 3.13 on this is `queue.ShutDown`."""


__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "CorruptRecord",
    "LockTimeout",
    "OwnerDied",
    "ProcessError",
    "SegmentError",
    "ShutDown",
    "TaskTimeoutError",
    "TimeoutError",
    "WorkerDied",
]


class SegmentError(ProcessError):
    """A descriptor does not lead to the shared memory that was asked for. The message says what was found there."""


class CorruptRecord(ProcessError):  # noqa: N818  a name that says what happened
    """What came out of a queue is no record as Shoal writes it: something has overwritten the shared memory."""


class WorkerDied(ProcessError):  # noqa: N818
    """A pool's worker process ended while it was running a task, or before it could take one.

    The message says which task and worker that was, and how it ended. `task` is the index of the task's first item in
    `map` and its relatives (0 in `apply`), `worker` the worker's number in the pool; `pid` and `exitcode` are the
    process's (negative: the signal that killed it, which is `signal` too). What there is not, or is not known, is None.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        worker: int | None = None,
        task: int | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.worker = worker
        self.task = task

    @property
    def signal(self) -> int | None:
        """The signal that killed the worker, a `signal.Signals` where it has a name; None if it ended otherwise."""
        if self.exitcode is None or self.exitcode >= 0:
            return None
        from signal import Signals

        try:
            return Signals(-self.exitcode)
        except ValueError:
            return -self.exitcode


class TaskTimeoutError(TimeoutError, builtins.TimeoutError):
    """A task of a pool ran for longer than its `timeout`, so its worker was killed. Both kinds of TimeoutError.

    `timeout` is the one it had, in seconds; `task`, `worker` and `pid` are those of `WorkerDied`.
    """

    def __init__(
        self,
        message: str,
        *,
        timeout: float | None = None,
        pid: int | None = None,
        worker: int | None = None,
        task: int | None = None,
    ) -> None:
        super().__init__(message)
        self.timeout = timeout
        self.pid = pid
        self.worker = worker
        self.task = task


class OwnerDied(ProcessError):  # noqa: N818
    """Raised by `acquire` of a lock whose holder has died: what it guards may be half changed.

    `acquire` has got the lock all the same: the caller holds it, and releases it once what it guards is right again. A
    `with` statement has not, since its block is not entered: it has given the lock back. In both cases nobody else is
    told.

    `pid` is the process that has died and `thread` the thread of it (its system-wide number) that held the lock;
    `exitcode` how it ended (negative: the signal that killed it), which is known of children of this process; `label`
    the lock's. What is not known is None.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int | None = None,
        exitcode: int | None = None,
        thread: int | None = None,
        label: str = "",
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.thread = thread
        self.label = label


class LockTimeout(TimeoutError, builtins.TimeoutError):  # noqa: N818
    """Raised by `acquire(timeout=..., raises=True)`; says who holds the lock. Both kinds of TimeoutError."""


_core.set_error_types(
    {"SegmentError": SegmentError, "CorruptRecord": CorruptRecord, "ProcessError": ProcessError, "ShutDown": ShutDown}
)

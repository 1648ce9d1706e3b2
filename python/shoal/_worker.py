"""What a pool's worker process does, and the queue by which it gets its tasks."""

from __future__ import annotations

import os
import time

from shoal import _core, _stdlib, _worker_local
from shoal._process import BaseProcess
from shoal.queues import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from shoal._worker_options import WorkerOptions

# How a task's function is called with what was sent: func(*args, **kwds), func(item), func(*item), and the last two for
# each item of a chunk.
CALL, ITEM, STAR, MAP, STARMAP = range(5)


class WorkQueue(_core.WorkQueue):
    """The native work queue, which can be passed to a process that is being started."""

    def __getstate__(self) -> tuple[Any, ...]:
        _stdlib.context.assert_spawning(self)
        return tuple(_stdlib.reduction.DupFd(descriptor) for descriptor in self.descriptors())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        descriptors = tuple(descriptor.detach() for descriptor in state)
        _core.WorkQueue.__init__(self, 0, descriptors=descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def run(
    slot: int,
    work: WorkQueue,
    reports: SimpleQueue[Any],
    options: WorkerOptions,
) -> None:
    """Do tasks until the queue is closed and empty, or as many are done as a worker may; then call `worker_exit`.

    An Exception in a task is its outcome. What is more than that (SystemExit, KeyboardInterrupt, ...) ends the process,
    and the owner sees that end.
    """
    if not isinstance(_stdlib.process.current_process(), BaseProcess):
        _core.die_with_parent(os.getppid())  # as Shoal's own daemons do; the pool was given a foreign context
    _worker_local.become(slot)
    if options.initializer is not None:
        try:
            options.initializer(*options.initargs)
        except Exception as error:
            _report(reports, error)
            raise
    reports.put((os.getpid(), time.monotonic(), None))
    work.serve(slot, options.max_tasks, _described, _unsendable, _left_behind)
    _worker_local.leave(options.worker_exit)


def _described(error: Exception) -> Any:
    """An exception to be sent: with its traceback, as text."""
    return _stdlib.pool.ExceptionWithTraceback(error, error.__traceback__)


def _unsendable(error: Exception, value: Any) -> Any:
    """What to send instead of `value`, which cannot be pickled."""
    if isinstance(value, _stdlib.pool.ExceptionWithTraceback):
        value = value.exc
    try:
        return _stdlib.pool.MaybeEncodingError(error, value)
    except Exception:  # not even its repr() works
        return _stdlib.pool.MaybeEncodingError(error, f"an object of {type(value)}")


def _left_behind() -> NoReturn:
    """A task has forked, and both processes have come back from it: this one is no worker."""
    import contextlib
    import sys

    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be closed, or None
            stream.flush()
    os._exit(0)


def _report(reports: SimpleQueue[Any], error: Exception) -> None:
    described = _stdlib.pool.ExceptionWithTraceback(error, error.__traceback__)
    pickler = _stdlib.reduction.ForkingPickler
    try:
        pickler.loads(pickler.dumps(described))  # some can be pickled, but not unpickled
    except Exception:
        import traceback

        described = RuntimeError(traceback.format_exception_only(type(error), error)[-1].strip())
    reports.put((os.getpid(), time.monotonic(), described))

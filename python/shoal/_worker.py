"""What a pool's worker process does, and the queue by which it gets its tasks."""

from __future__ import annotations

import itertools
import os

from shoal import _core, _stdlib, _worker_local
from shoal._process import BaseProcess
from shoal.queues import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shoal._worker_options import WorkerOptions

# Kinds of tasks. A task is (job, index, kind, func, args, kwds), its outcome (job, index, succeeded, value or error).
CALL, MAP, STARMAP = range(3)


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
    reports.put((os.getpid(), None))
    for _ in itertools.count() if options.max_tasks is None else range(options.max_tasks):
        taken = _take(work, slot)
        if taken is None:
            break
        ticket, readable, task = taken
        if readable:
            _do(work, slot, ticket, task)
        else:
            _finish(work, slot, ticket, (None, 0, False, task))
        taken = task = None  # the task's objects must not live on while this worker waits for the next
    _worker_local.leave(options.worker_exit)


def _take(work: WorkQueue, slot: int) -> tuple[int, bool, Any] | None:
    try:
        return work.take(slot)
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # Ctrl-C while idle; a traceback for each worker would tell nothing


def _do(work: WorkQueue, slot: int, ticket: int, task: tuple[Any, ...]) -> None:
    job, index, kind, func, args, kwds = task
    try:
        if kind == CALL:
            value = func(*args, **kwds)
        elif kind == MAP:
            value = [func(item) for item in args]
        else:
            value = list(itertools.starmap(func, args))
    except Exception as error:
        _finish(work, slot, ticket, (job, index, False, error))
    else:
        _finish(work, slot, ticket, (job, index, True, value))


def _finish(work: WorkQueue, slot: int, ticket: int, outcome: tuple[Any, int, bool, Any]) -> None:
    job, index, ok, value = outcome
    try:
        sent = value if ok else _stdlib.pool.ExceptionWithTraceback(value, value.__traceback__)
        work.finish(slot, ticket, (job, index, ok, sent))
    except Exception as error:
        try:
            unsendable = _stdlib.pool.MaybeEncodingError(error, value)
        except Exception:  # not even its repr() works
            unsendable = _stdlib.pool.MaybeEncodingError(error, f"an object of {type(value)}")
        work.finish(slot, ticket, (job, index, False, unsendable))


def _report(reports: SimpleQueue[Any], error: Exception) -> None:
    try:
        reports.put((os.getpid(), _stdlib.pool.ExceptionWithTraceback(error, error.__traceback__)))
    except Exception:
        reports.put((os.getpid(), RuntimeError(f"{type(error).__name__}: {error}")))

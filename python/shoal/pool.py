"""Pools of worker processes, as in `multiprocessing.pool`.

Tasks are pushed by the thread that calls `apply` or `map`; whichever worker is free takes the next. No task can hang
the pool: if a worker ends in the middle of one, that task fails with `WorkerDied`, a new worker starts, and all other
tasks go on.
"""

from __future__ import annotations

import os
import threading
import warnings

from shoal import _calls, _stdlib
from shoal._checks import whole_number
from shoal._crew import CLOSE, RUN, TERMINATE, Crew
from shoal._results import ApplyResult, AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult
from shoal._worker_local import Worker, current_worker
from shoal._worker_options import WorkerOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
    from multiprocessing.context import BaseContext
    from multiprocessing.pool import ThreadPool
    from typing import Any, TypeVar

    from shoal._calls import Errors
    from shoal._insights import Insights as Insights
    from shoal._insights import WorkerInsight as WorkerInsight
    from shoal._result_set import ResultSet as ResultSet

    R = TypeVar("R")
    S = TypeVar("S")

__all__ = [
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "Insights",
    "MapResult",
    "Pool",
    "ResultSet",
    "ThreadPool",
    "Worker",
    "WorkerInsight",
    "current_worker",
]


def __getattr__(name: str) -> Any:
    if name in ("Insights", "WorkerInsight"):
        from shoal import _insights

        return getattr(_insights, name)
    if name == "ResultSet":
        from shoal import _result_set

        return _result_set.ResultSet
    return _stdlib.attribute_for(__name__, name)  # such as ThreadPool


class Pool:
    """Worker processes that run functions for this one.

    `processes` is their number (None: one for each CPU). Each calls `initializer(*initargs)` first, and is replaced by
    a new one after `maxtasksperchild` tasks (None: never). `context` says how they start. More can be chosen for them:

    worker_exit     a function that each calls last, without arguments, when it ends in order: after `close`, and after
                    `maxtasksperchild` tasks; not when it is killed, as by `terminate` and the end of a `with`
                    statement. What it raises is printed; if it takes more than a minute, the process ends all the same
    max_memory      how many bytes of private memory each may have; beyond that there is MemoryError, for the task to
                    fail with. See `Process`
    cpu_affinity    the CPUs each may run on: True for one each, going round those that this process may use; or a list
                    with a CPU or a set of CPUs for each worker
    timeout, retries, retry_on
                    for tasks whose call says nothing else; see `apply`

    The functions may be lambdas and closures, with every start method, if cloudpickle is installed. So may those of
    tasks, and be among their arguments. A task finds its worker's number, and a place for what is to be kept, in
    `shoal.pool.current_worker()`. It may have a pool, and processes, of its own, which end with the worker.

    The first workers start in the constructor, before any thread does. If an initializer raises or ends its process,
    the pool is broken: all tasks, those to come too, fail with `WorkerDied`, whose cause is what was raised. A pool is
    to be closed or terminated, or used in a `with` statement, which terminates it at the end; workers never outlive the
    process that has the pool.

    Threads: all methods may be called concurrently; callbacks run in a thread of the pool. fork: only the process that
    made the pool can use it. Kill-safety: workers may be killed at any instruction.

    Raises ValueError or TypeError for arguments out of range, OSError if no process or descriptor is left.
    """

    _state = "INIT"  # where the constructor was not even called
    _context: Any = None  # set in the classes that contexts offer
    _first_workers: int | None = None  # how many are started before others are asked for; None: all

    @staticmethod
    def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:  # noqa: N802
        """The worker process to be: the place for subclasses to make another."""
        return ctx.Process(*args, **kwds)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
        *,
        worker_exit: Callable[[], object] | None = None,
        max_memory: int | None = None,
        cpu_affinity: bool | Sequence[int | Iterable[int]] | None = None,
        timeout: float | None = None,
        retries: int = 0,
        retry_on: Errors | None = None,
    ) -> None:
        if processes is None:
            processes = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        processes = whole_number("processes", processes)
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        options = WorkerOptions(
            processes, initializer, initargs, maxtasksperchild, worker_exit, max_memory, cpu_affinity
        )
        self._limits = _calls.Limits(timeout, retries, retry_on)
        self._ctx = context or self._context or _default_context()
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = options.initargs
        self._owner_pid = os.getpid()
        self._crew = Crew(self._ctx, self.Process, processes, options, self._first_workers)
        # The crew's threads know nothing of this object, so that it can be collected while they run; then they end.
        self._terminate = _stdlib.util.Finalize(self, self._crew.terminate, exitpriority=15)
        self._state = RUN

    def __del__(self, _warn: Any = warnings.warn, _getpid: Any = os.getpid) -> None:
        if self._state == RUN and self._owner_pid == _getpid():
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        cls = type(self)
        return f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={len(self._pool)}>"

    def __reduce__(self) -> Any:
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    # Calls and their results

    def apply(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
    ) -> R:
        """Return `func(*args, **kwds)`, called in a worker.

        Raises what it raises, with the worker's traceback as its cause; WorkerDied if the worker ends meanwhile; what
        pickling raises if function, arguments or value cannot be pickled; ValueError if the pool is not running.

        All calls that make tasks take these; None is what the pool was made with:

        timeout     how many seconds a task may run, not counting the time until a worker takes it. After that its
                    worker is killed, and replaced, and the task fails with TaskTimeoutError. A chunk of `map` is one
                    task; the default chunk size is 1 then
        retries     how often a task is run again that has failed with an error of those in
        retry_on    which are WorkerDied alone unless this is another class, or a tuple of them
        """
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        result: ApplyResult[R] = _calls.apply(self, "apply", func, args, kwds, None, None, limits)
        return self._value_of(result)

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
    ) -> ApplyResult[R]:
        """As `apply`, but return a result to be. All errors but a pool that is not running come with it.

        `callback` gets the value, or `error_callback` the error, in a thread of the pool, before `get` returns it. They
        should be quick, for others wait behind them; what they raise is printed.
        """
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        result = _calls.apply(self, "apply_async", func, args, kwds, callback, error_callback, limits)
        self._expect(result)
        return result

    def map(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> list[R]:
        """Return `[func(item) for item in iterable]`, called in the workers.

        Items go out in chunks of `chunksize` (None: four chunks for each worker). If a call fails, the others of its
        chunk are given up, the other chunks are done all the same, and then the first error is raised, as from `apply`.
        `progress` shows how far it has got: by tqdm where it is installed, else in a line on stderr.
        """
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        return self._value_of(_calls.map_(self, "map", False, func, iterable, chunksize, None, None, limits, progress))

    def map_async(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> MapResult[R]:
        """As `map`, but return a result to be; the callbacks are those of `apply_async`."""
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        result = _calls.map_(
            self, "map_async", False, func, iterable, chunksize, callback, error_callback, limits, progress
        )
        self._expect(result)
        return result

    def starmap(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> list[R]:
        """As `map`, for items that are the arguments of one call: return `[func(*item) for item in iterable]`."""
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        return self._value_of(
            _calls.map_(self, "starmap", True, func, iterable, chunksize, None, None, limits, progress)
        )

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> MapResult[R]:
        """As `starmap`, but return a result to be; the callbacks are those of `apply_async`."""
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        result = _calls.map_(
            self, "starmap_async", True, func, iterable, chunksize, callback, error_callback, limits, progress
        )
        self._expect(result)
        return result

    def imap(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> IMapIterator[R]:
        """As `map`, but return an iterator over the values, in order.

        The iterable may be endless: it is read as values are taken, by a thread unless it is a built-in container. At
        most `buffersize` tasks (None: some thousand) are under way, or done and not taken; if their arguments are long,
        as many as have 16 MiB, or two for each worker. What the iterable raises is raised in its place among the
        values. `join` reads it to its end, for then nobody takes values.
        """
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        return _calls.imap(self, IMapIterator, "imap", func, iterable, chunksize, limits, progress, buffersize)

    def imap_unordered(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S],
        chunksize: int = 1,
        *,
        buffersize: int | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        retry_on: Errors | None = None,
        progress: bool = False,
    ) -> IMapIterator[R]:
        """As `imap`, but the values come in the order in which they are ready."""
        limits = self._limits.but(timeout, retries, retry_on)
        self._check_running()
        return _calls.imap(
            self, IMapUnorderedIterator, "imap_unordered", func, iterable, chunksize, limits, progress, buffersize
        )

    def insights(self) -> Insights:
        """What the workers have done so far: a list with a `WorkerInsight` for each; as `str`, a table."""
        return self._crew.insights()

    # In asyncio; `await` also takes what the forms with `_async` return

    async def amap(
        self, func: Callable[[S], R], iterable: Iterable[S], chunksize: int | None = None, **options: Any
    ) -> list[R]:
        """As `map`, waiting in asyncio. If the task that waits is cancelled, so are the calls."""
        from shoal import _pool_asyncio

        result = self.map_async(func, iterable, chunksize, **options)
        return await _pool_asyncio.result_of(result)

    def aimap(
        self, func: Callable[[S], R], iterable: Iterable[S] | AsyncIterable[S], chunksize: int = 1, **options: Any
    ) -> AsyncGenerator[R, None]:
        """As `imap`, for `async for`: the values in order, each as soon as it is there.

        `iterable` may be asynchronous too. It is read as the work goes on, some hundred chunks ahead of the values that
        are taken; so it may be endless. The first error ends the iteration. Its end, however it comes, cancels the
        calls that have not ended; `contextlib.aclosing` makes a `break` its end.
        """
        return self._aimap(func, iterable, chunksize, True, options)

    def aimap_unordered(
        self, func: Callable[[S], R], iterable: Iterable[S] | AsyncIterable[S], chunksize: int = 1, **options: Any
    ) -> AsyncGenerator[R, None]:
        """As `aimap`, but the values come in the order in which they are ready."""
        return self._aimap(func, iterable, chunksize, False, options)

    # The end

    def close(self) -> None:
        """Take no more calls; the workers end when all are done. Returns at once."""
        if self._state == RUN:
            self._state = CLOSE
            if self._owner_pid == os.getpid():
                self._crew.close()

    def terminate(self) -> None:
        """End the workers now. Results that are outstanding fail with ProcessError, without a callback.

        A worker that ignores SIGTERM for five seconds is killed.
        """
        self._state = TERMINATE
        try:
            self._terminate()
        except BaseException:
            # Ctrl-C, say. What is left is done by the next call, or at the end of the process.
            self._terminate = _stdlib.util.Finalize(self, self._crew.terminate, exitpriority=15)
            raise

    def join(self) -> None:
        """Wait for the end of the workers. Raises ValueError unless the pool was closed or terminated before."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._check_owner()
        self._crew.join()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.terminate()

    # What programs written for multiprocessing look at

    @property
    def _pool(self) -> list[Any]:
        crew = getattr(self, "_crew", None)
        return [] if crew is None else [worker.process for worker in crew.workers]

    @property
    def _cache(self) -> dict[int, Any]:
        return dict(enumerate(self._crew.open_jobs()))

    @property
    def _worker_handler(self) -> threading.Thread:
        return self._crew.supervisor

    @property
    def _result_handler(self) -> threading.Thread:
        return self._crew.result_handler

    def _repopulate_pool(self) -> None:
        """Nothing to do: a worker that has ended is replaced at once."""

    def _check_running(self) -> None:
        self._check_owner()
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _check_owner(self) -> None:
        if self._owner_pid != os.getpid():
            raise RuntimeError(
                f"this pool belongs to process {self._owner_pid}, of which this one is a fork; make another here"
            )

    def _is_usable(self) -> bool:
        """Whether calls can still be done."""
        return self._state == RUN and self._crew._broken is None

    def _expect(self, result: ApplyResult[Any]) -> None:
        if result._is_called_back:
            self._crew.expect_now()
        else:
            self._crew.expect()

    def _value_of(self, result: ApplyResult[R]) -> R:
        """Wait for what nobody else can be waiting for: if that is interrupted, what is pending of it is not run."""
        try:
            return result.get()
        except BaseException:
            if not result._is_ready:
                self._crew.give_up(result)
            raise

    def _aimap(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S] | AsyncIterable[S],
        chunksize: int,
        ordered: bool,
        options: dict[str, Any],
    ) -> AsyncGenerator[R, None]:
        from shoal import _pool_asyncio

        self._check_running()
        chunksize = _calls.checked_chunksize(chunksize)
        return _pool_asyncio.imap(self, func, iterable, chunksize, ordered, max(256, 8 * self._processes), options)


def _default_context() -> Any:
    from shoal import context

    return context._default_context.get_context()

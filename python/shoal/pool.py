"""Pools of worker processes, as in `multiprocessing.pool`.

Tasks are pushed by the thread that calls `apply` or `map`; whichever worker is free takes the next. No task can hang
the pool: if a worker ends in the middle of one, that task fails with `WorkerDied`, a new worker starts, and all other
tasks go on.
"""

from __future__ import annotations

import itertools
import os
import threading
import warnings

from shoal import _stdlib
from shoal._crew import CLOSE, RUN, TERMINATE, Crew
from shoal._results import ApplyResult, AsyncResult, IMapIterator, IMapUnorderedIterator, Job, MapResult
from shoal._worker import CALL, MAP, STARMAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
    from multiprocessing.context import BaseContext
    from multiprocessing.pool import ThreadPool
    from typing import Any, TypeVar

    R = TypeVar("R")
    S = TypeVar("S")

__all__ = ["ApplyResult", "AsyncResult", "IMapIterator", "IMapUnorderedIterator", "MapResult", "Pool", "ThreadPool"]


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)  # such as ThreadPool


class Pool:
    """Worker processes that run functions for this one.

    `processes` is their number (None: one for each CPU). Each calls `initializer(*initargs)` first, and is replaced by
    a new one after `maxtasksperchild` tasks (None: never). `context` says how they start.

    The first workers start in the constructor, before any thread does. If an initializer raises or ends its process,
    the pool is broken: all tasks, those to come too, fail with `WorkerDied`, whose cause is what was raised. A pool is
    to be closed or terminated, or used in a `with` statement, which terminates it at the end; workers never outlive the
    process that has the pool.

    Threads: all methods may be called concurrently; callbacks run in a thread of the pool. fork: only the process that
    made the pool can use it. Kill-safety: workers may be killed at any instruction.

    Raises ValueError or TypeError for arguments out of range, OSError if no process or descriptor is left.
    """

    _context: Any = None  # set in the classes that contexts offer

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
    ) -> None:
        self._state = "INIT"
        if processes is None:
            processes = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._ctx = context or self._context or _default_context()
        self._processes = processes
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = tuple(initargs)
        self._owner_pid = os.getpid()
        self._crew = Crew(self._ctx, self.Process, processes, initializer, self._initargs, maxtasksperchild)
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

    def apply(self, func: Callable[..., R], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> R:
        """Return `func(*args, **kwds)`, called in a worker.

        Raises what it raises, with the worker's traceback as its cause; WorkerDied if the worker ends meanwhile; what
        pickling raises if function, arguments or value cannot be pickled; ValueError if the pool is not running.
        """
        return self._apply("apply", func, args, kwds).get()  # type: ignore[no-any-return]

    def apply_async(
        self,
        func: Callable[..., R],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        """As `apply`, but return a result to be. All errors but a pool that is not running come with it.

        `callback` gets the value, or `error_callback` the error, in a thread of the pool, before `get` returns it. They
        should be quick, for other results wait behind them; what they raise is printed.
        """
        return self._apply("apply_async", func, args, kwds, callback, error_callback)

    def map(self, func: Callable[[S], R], iterable: Iterable[S], chunksize: int | None = None) -> list[R]:
        """Return `[func(item) for item in iterable]`, called in the workers.

        Items go out in chunks of `chunksize` (None: four chunks for each worker). If a call fails, the others of its
        chunk are given up, the other chunks are done all the same, and then the first error is raised, as from `apply`.
        """
        return self._map("map", MAP, func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[S], R],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `map`, but return a result to be; the callbacks are those of `apply_async`."""
        return self._map("map_async", MAP, func, iterable, chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., R], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[R]:
        """As `map`, for items that are the arguments of one call: return `[func(*item) for item in iterable]`."""
        return self._map("starmap", STARMAP, func, iterable, chunksize).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., R],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[R]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        """As `starmap`, but return a result to be; the callbacks are those of `apply_async`."""
        return self._map("starmap_async", STARMAP, func, iterable, chunksize, callback, error_callback)

    def imap(self, func: Callable[[S], R], iterable: Iterable[S], chunksize: int = 1) -> IMapIterator:
        """As `map`, but return an iterator over the values, in order.

        A thread reads `iterable` as the work goes on, some hundred chunks ahead of the workers at most; so it may be
        endless. What it raises is raised in its place among the values.
        """
        return self._imap(IMapIterator, "imap", func, iterable, chunksize)

    def imap_unordered(self, func: Callable[[S], R], iterable: Iterable[S], chunksize: int = 1) -> IMapIterator:
        """As `imap`, but the values come in the order in which they are ready."""
        return self._imap(IMapUnorderedIterator, "imap_unordered", func, iterable, chunksize)

    # In asyncio; `await` also takes what the forms with `_async` return

    async def amap(
        self, func: Callable[[S], R], iterable: Iterable[S], chunksize: int | None = None, **options: Any
    ) -> list[R]:
        """As `map`, waiting in asyncio. If the task that waits is cancelled, so are the calls."""
        from shoal import _pool_asyncio

        result = self.map_async(func, iterable, chunksize, **options)
        return await _pool_asyncio.result_of(result)  # type: ignore[no-any-return]

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
            self._crew.close()

    def terminate(self) -> None:
        """End the workers now. Results that are outstanding fail with ProcessError, without a callback.

        A worker that ignores SIGTERM for five seconds is killed.
        """
        self._state = TERMINATE
        self._terminate()

    def join(self) -> None:
        """Wait for the end of the workers. Raises ValueError unless the pool was closed or terminated before."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
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
        return [] if crew is None else [worker.process for worker in crew.workers if worker is not None]

    @property
    def _cache(self) -> dict[int, Job]:
        return self._crew.jobs

    @property
    def _worker_handler(self) -> threading.Thread:
        return self._crew.supervisor

    @property
    def _result_handler(self) -> threading.Thread:
        return self._crew.result_handler

    def _repopulate_pool(self) -> None:
        """Nothing to do: a worker that has ended is replaced at once."""

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _is_usable(self) -> bool:
        """Whether calls can still be done."""
        return self._state == RUN and self._crew._broken is None

    # How calls become tasks

    def _apply(
        self,
        method: str,
        func: Callable[..., Any],
        args: Iterable[Any],
        kwds: Mapping[str, Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> ApplyResult:
        self._check_running()
        result = ApplyResult(self, method, func, callback, error_callback)
        self._crew.submit(result, 0, CALL, func, args, kwds)
        return result

    def _map(
        self,
        method: str,
        kind: int,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> MapResult:
        self._check_running()
        items = list(iterable)
        if chunksize is None:
            chunksize = max(1, -(-len(items) // (self._processes * 4)))
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        result = MapResult(len(items), self, method, func, callback, error_callback, chunksize)
        for index, first in enumerate(range(0, len(items), chunksize)):
            self._crew.submit(result, index, kind, func, items[first : first + chunksize], None)
        return result

    def _imap(
        self,
        iterator: type[IMapIterator],
        method: str,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int,
    ) -> IMapIterator:
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        result = iterator(self, method, func, chunksize, ahead=max(256, 8 * self._processes))
        args = (self._crew, result, func, iterable)
        threading.Thread(target=_feed, args=args, name="PoolFeeder", daemon=True).start()
        return result

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
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")
        return _pool_asyncio.imap(self, func, iterable, chunksize, ordered, max(256, 8 * self._processes), options)


def _feed(crew: Crew, result: IMapIterator, func: Callable[..., Any], iterable: Iterable[Any]) -> None:
    """Submit the tasks of an `imap` while its iterable is read."""
    index = 0
    try:
        items = iter(iterable)
        while True:
            result.room.acquire()
            if result.ended:
                return
            chunk = list(itertools.islice(items, result._chunksize))
            if not chunk:
                break
            if result._chunksize == 1:
                crew.submit(result, index, CALL, func, chunk, {})
            else:
                crew.submit(result, index, MAP, func, chunk, None)
            index += 1
    except BaseException as error:
        # Of the iterable; `submit` raises nothing. Nobody would see it in this thread.
        result._set(index, False, error)
        index += 1
    result.set_length(index)


def _default_context() -> Any:
    from shoal import context

    return context._default_context.get_context()

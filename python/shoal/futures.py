"""Executors, as in `concurrent.futures`.

`ProcessPoolExecutor` is the one on Shoal's pool. The other names of `concurrent.futures` (`wait`, `as_completed`,
`ThreadPoolExecutor`, ...) are here too, and are the standard library's.
"""

from __future__ import annotations

import collections
import concurrent.futures
import importlib
import itertools
import os
import threading
import time
import weakref

from shoal._executor_calls import Calls, Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import ALL_COMPLETED as ALL_COMPLETED
    from concurrent.futures import FIRST_COMPLETED as FIRST_COMPLETED
    from concurrent.futures import FIRST_EXCEPTION as FIRST_EXCEPTION
    from concurrent.futures import BrokenExecutor as BrokenExecutor
    from concurrent.futures import CancelledError as CancelledError
    from concurrent.futures import InvalidStateError as InvalidStateError
    from concurrent.futures import ThreadPoolExecutor as ThreadPoolExecutor
    from concurrent.futures import as_completed as as_completed
    from concurrent.futures import wait as wait
    from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool
    from multiprocessing.context import BaseContext
    from typing import Any, ParamSpec, TypeVar

    from shoal._broken import CallLost as CallLost

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "BrokenProcessPool",
    "CallLost",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "wait",
]

Executor = concurrent.futures.Executor
TimeoutError = concurrent.futures.TimeoutError


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours = name in ("BrokenProcessPool", "CallLost")
    value = globals()[name] = getattr(importlib.import_module("shoal._broken") if ours else concurrent.futures, name)
    return value


class ProcessPoolExecutor(concurrent.futures.Executor):
    """Worker processes that run calls for this one: `concurrent.futures.ProcessPoolExecutor` of Python 3.14.

    `max_workers` is their number (None: one for each CPU), `mp_context` says how they start (None: as the program's
    other processes; by `spawn` if `max_tasks_per_child` is given). None is started before the first call. With `fork`
    they all start then, so that no fork happens later among threads; otherwise each when a call finds no idle one.
    Each calls `initializer(*initargs)` first, and is replaced after `max_tasks_per_child` calls, whatever starts it.
    `options` are those of `shoal.Pool`: `timeout`, `retries`, `max_memory`, ...

    A worker that dies takes only its own call with it: that fails with `CallLost`, which is both WorkerDied and
    BrokenProcessPool, and the others go on. An initializer that raises breaks the executor: all calls fail with
    BrokenProcessPool, those to come too.

    Programs end when all calls have, also if `shutdown` was never called or the executor was forgotten.

    Threads: all methods may be called concurrently; callbacks of futures run in a thread of the pool. fork: only the
    process that made it can use it. Kill-safety: workers may be killed at any instruction.

    Raises ValueError or TypeError for arguments out of range.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        **options: Any,
    ) -> None:
        if max_workers is None:
            max_workers = getattr(os, "process_cpu_count", os.cpu_count)() or 1
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        if mp_context is None:
            from shoal import context

            mp_context = context._default_context.get_context(None if max_tasks_per_child is None else "spawn")
        self._max_workers = max_workers
        self._mp_context = mp_context
        self._calls = Calls(
            max_workers,
            initializer=initializer,
            initargs=initargs,
            maxtasksperchild=max_tasks_per_child,
            context=mp_context,
            **options,
        )
        # The calls know nothing of this object; when it is collected they are done all the same.
        weakref.finalize(self, self._calls.close).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called in a worker. Returns its future, which can also be killed as it runs.

        What cannot be pickled is an error of the future. Raises BrokenProcessPool if the executor is broken,
        RuntimeError after `shutdown`, OSError if no process can be started.
        """
        future: Future[T] = Future()
        self._calls.add(future, fn, args, kwargs)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """An iterator over `fn(*items)` for the items of the iterables side by side, in order.

        Items go out in chunks of `chunksize`. The iterables are read at once (`buffersize` None), or no further than
        `buffersize` chunks ahead of what was taken from the iterator; so they may be endless. The iterator raises what
        a call raised, and TimeoutError `timeout` seconds after the call of `map`; calls that have not begun by then are
        cancelled.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        deadline = None if timeout is None else time.monotonic() + timeout
        chunks = _chunks(zip(*iterables), chunksize)  # noqa: B905  `map` ends with the shortest
        futures: collections.deque[Future[list[T]]] = collections.deque()
        for chunk in itertools.islice(chunks, buffersize):
            futures.append(self._submit_chunk(fn, chunk))
        # With no bound, all were submitted. An iterator that is kept does not keep the executor.
        more = None if buffersize is None else (weakref.ref(self), fn, chunks)
        return _values(futures, deadline, more)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and free the resources when the last is done.

        `wait`: return no sooner than that. `cancel_futures`: cancel the calls that no worker was given. May be called
        again. Raises RuntimeError if it is called by a future's callback with `wait`, which would wait for itself.
        """
        self._calls.close(cancel_futures)
        if wait:
            self._calls.join()

    def terminate_workers(self) -> None:
        """End the workers now, by SIGTERM, and shut down.

        Calls that run fail with BrokenProcessPool, the others are cancelled. Who ignores SIGTERM for five seconds is
        killed.
        """
        self._calls.end_workers("terminate")

    def kill_workers(self) -> None:
        """As `terminate_workers`, by SIGKILL."""
        self._calls.end_workers("kill")

    @property
    def _processes(self) -> dict[int, Any]:
        """The workers by pid, where programs look for them."""
        return {process.pid: process for process in self._calls.workers()}

    def _submit_chunk(self, fn: Callable[..., T], chunk: list[tuple[Any, ...]]) -> Future[list[T]]:
        future: Future[list[T]] = Future()
        self._calls.add(future, fn, chunk, None)
        return future


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(itertools.islice(items, size)):
        yield chunk


def _values(
    futures: collections.deque[Future[list[T]]],
    deadline: float | None,
    more: tuple[weakref.ref[ProcessPoolExecutor], Callable[..., T], Iterator[list[tuple[Any, ...]]]] | None,
) -> Iterator[T]:
    """The values of futures that are lists, one after the other; for each list taken, the next chunk is submitted."""
    try:
        while futures:
            if more is not None:
                executor, fn, chunks = more[0](), more[1], more[2]
                chunk = None if executor is None else next(chunks, None)
                if executor is not None and chunk is not None:
                    futures.append(executor._submit_chunk(fn, chunk))
                del executor, chunk
            values = _result_or_cancel(futures.popleft(), deadline)
            values.reverse()
            while values:
                yield values.pop()  # nothing here keeps a value that was taken
    finally:
        for future in futures:
            future.cancel()


def _result_or_cancel(future: Future[T], deadline: float | None) -> T:
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        future.cancel()  # in vain if it is done
        del future  # with an exception it would be part of a cycle


def _wait_for_calls_at_exit() -> None:
    Calls.finish_all()


# Before the threads that are no daemons are joined, as for the standard library's executors: those threads may be
# waiting for futures. What `atexit` has would be too late.
threading._register_atexit(_wait_for_calls_at_exit)  # type: ignore[attr-defined]

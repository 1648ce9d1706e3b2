"""What a pool gives out for calls that are under way: a result for `apply` and `map`, an iterator for `imap`.

Each is a job: one call of one of the pool's methods, of which the pool makes one or several tasks. The native side
delivers their outcomes to it, in any order, in whatever thread receives them; one after the job has ended is ignored.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from types import GenericAlias

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Generic, TypeVar

    from shoal._crew import Crew
    from shoal._feeding import Feeder
    from shoal._retries import Retries
    from shoal.pool import Pool

    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
else:
    R = R_co = object  # type variables are for type checkers

    class Generic:
        __slots__ = ()
        # Subscripting is for annotations: it makes no class.
        __class_getitem__ = classmethod(GenericAlias)


_UNLIMITED = 2**64 - 1


class Job:
    """What all of them have, beside a native part."""

    if TYPE_CHECKING:

        @property
        def _crew(self) -> Crew: ...
        @property
        def _method(self) -> str: ...
        @property
        def _func_name(self) -> str: ...
        @property
        def _chunksize(self) -> int: ...
        @property
        def _is_ready(self) -> bool: ...

        def _descriptor(self) -> int: ...

    # Attributes of few, so that most have no dictionary.
    _retries: Retries | None = None
    _feeder: Feeder | None = None
    _cancelled = False

    def describe(self, index: int) -> str:
        """Task `index` in words, for error messages."""
        call = f"{self._method}({self._func_name}, ...)"
        if self._method.startswith("apply"):
            return f"the task {call}"
        if self._chunksize == 1:
            return f"task {index} of {call}"
        first = index * self._chunksize
        return f"the chunk of {call} that begins with task {first}"

    def first_item(self, index: int) -> int:
        """Which item of the iterable task `index` begins with."""
        return index * self._chunksize

    def _tell(self) -> None:
        """As `_tell_now`, called by whoever receives outcomes."""

    def _tell_now(self) -> None:
        """It has ended, and somebody wants to be told."""

    def _polled(self) -> int:
        """The descriptor that polls readable while this is ready. From now on somebody receives its outcomes."""
        if not self._is_ready:
            self._crew.look()  # which raises in a fork, where no outcome comes
            self._crew.expect_now()
        return self._descriptor()

    def _lift(self) -> None:
        """Nobody will take results: make all tasks without."""


class ApplyResult(_core.PoolResult, Job, Generic[R]):
    """The result of `Pool.apply_async`, to be. Its methods may be called by any thread of the process that made it."""

    _watchers: list[Callable[[ApplyResult[R]], object]] | None = None

    def __init__(
        self,
        pool: Pool,
        method: str,
        func: Callable[..., Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        chunksize: int = 1,
        length: int = -1,
    ) -> None:
        name = getattr(func, "__qualname__", None)
        if type(name) is not str:
            name = name_of(func)
        super().__init__(pool, pool._crew, method, name, chunksize, length)
        if callback is not None or error_callback is not None:
            self._callback = callback
            self._error_callback = error_callback
            self._is_called_back = True

    def ready(self) -> bool:
        """Whether the call has ended, in whatever way."""
        if not self._is_ready:
            self._crew.look()
        return self._is_ready

    def successful(self) -> bool:
        """Whether the call has returned a value. Raises ValueError if it has not ended."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._succeeded

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended, or for `timeout` seconds."""
        if not self._is_ready:
            self._crew.wait_for(self, timeout)

    def fileno(self) -> int:
        """A descriptor that polls readable as soon as the call has ended, in whatever way, and stays so.

        For `shoal.wait`, `selectors` and event loops, in the process that made the call. There is none before somebody
        asks. It belongs to this result, and is closed with it. For many results, `shoal.pool.ResultSet` has one.
        """
        return self._polled()

    def get(self, timeout: float | None = None) -> R:
        """The value that the call returned, waiting for it.

        Raises what the call raised, with the worker's traceback as its cause; WorkerDied if the worker ended meanwhile;
        TaskTimeoutError if the task ran longer than it may; concurrent.futures.CancelledError after `cancel`;
        ProcessError if the pool was terminated first; multiprocessing.TimeoutError after `timeout` seconds.
        """
        if not self._is_ready:
            self._crew.wait_for(self, timeout)
            if not self._is_ready:
                raise _stdlib.context.TimeoutError
        if self._succeeded:
            return self._value  # type: ignore[no-any-return]
        raise self._value

    def cancel(self) -> bool:
        """Give up the call, unless it has ended; return whether it was given up, now or before.

        What no worker has begun is never run; a worker that is running a task of this call is killed, and replaced.
        """
        return self._cancelled or self._crew.cancel(self, killing=True)

    def cancelled(self) -> bool:
        """Whether `cancel` has ended the call."""
        return self._cancelled

    def __await__(self) -> Generator[Any, None, R]:
        """The value, awaited in a task of asyncio. Cancelling the task cancels the call."""
        from shoal import _pool_asyncio

        return _pool_asyncio.result_of(self).__await__()

    def _withdraw(self) -> bool:
        """As `cancel`, but only if no worker has begun anything of it."""
        return self._cancelled or self._crew.cancel(self, killing=False)

    def _when_done(self, watcher: Callable[[ApplyResult[R]], object]) -> None:
        """Call `watcher` with this once it has ended, in whatever way and thread; now, if it has."""
        watchers: list[Callable[[ApplyResult[R]], object]] = self.__dict__.setdefault("_watchers", [])
        self._is_watched = True
        watchers.append(watcher)
        if self._is_ready:
            self._tell_now()
        else:
            self._crew.expect_now()

    def _tell(self) -> None:
        if threading.current_thread() is threading.main_thread():
            # It has its own to wait for, and a signal handler may raise in it at any point: then this is called again.
            self._crew.tell(self)
        else:
            self._tell_now()

    def _tell_now(self) -> None:
        watchers = self._watchers
        while watchers:
            try:
                watcher = watchers.pop(0)
            except IndexError:
                return  # another thread was faster
            call_back(watcher, self)

    def _call_back(self) -> None:
        """Call what was to be called with the outcome; then it may be had."""
        callback = self._callback if self._succeeded else self._error_callback
        self._callback = self._error_callback = None
        if callback is not None:
            call_back(callback, self._value)
        self._completed()
        self._tell_now()


AsyncResult = ApplyResult


class MapResult(ApplyResult["list[R]"]):
    """The result of `Pool.map_async`, to be: a list. It has ended when all tasks have, whether or not one failed.

    If some failed, `get` raises the error of the first that was heard of.
    """

    @property
    def _number_left(self) -> int:
        return self._tasks_left


class IMapIterator(_core.PoolResults, Job, Generic[R_co]):
    """What `Pool.imap` returns: the values, in the order of the iterable, each as soon as it is there.

    A task that failed raises in its turn; iteration may go on after that. May be used by several threads.
    """

    _ordered = True

    def __init__(self, pool: Pool, method: str, func: Callable[..., Any], chunksize: int, ahead: int) -> None:
        super().__init__(pool, pool._crew, method, name_of(func), chunksize, self._ordered)
        self._ahead = ahead

    if TYPE_CHECKING:

        def __iter__(self) -> IMapIterator[R_co]: ...
        def __next__(self) -> R_co: ...

    def next(self, timeout: float | None = None) -> R_co:
        """The next value, waiting for it.

        Raises StopIteration at the end; what the task raised; WorkerDied if its worker ended; ProcessError if the pool
        was terminated first; multiprocessing.TimeoutError after `timeout` seconds.
        """
        if timeout is not None and not self._is_ready:
            self._consumed()  # as in _wait_for_more
            if isinstance(timeout, (int, float)) and timeout <= 0:
                self._crew.look()
            else:
                self._crew.wait_for(self, timeout)
            if not self._is_ready:
                raise _stdlib.context.TimeoutError
        return self.__next__()

    def fileno(self) -> int:
        """A descriptor that polls readable while `next` need not wait: there is a value, an error, or the end.

        So one descriptor stands for all calls of `imap_unordered`: whenever it is readable, take what is there by
        `next(timeout=0)`. For `shoal.wait`, `selectors` and event loops, in the process that made the call. There is
        none before somebody asks. It belongs to this iterator, and is closed with it.
        """
        return self._polled()

    def cancel(self) -> bool:
        """Give up what is left: the iterable is read no further, and the iteration ends with CancelledError.

        What no worker has begun is never run; workers that run tasks of this call are killed, and replaced.
        """
        return self._crew.cancel(self, killing=True)

    def _wait_for_more(self) -> None:
        self._consumed()  # again: an interrupt may have kept whoever was told from doing anything
        self._crew.wait_for(self, None)

    def _lift(self) -> None:
        self._ahead = _UNLIMITED
        self._consumed()

    def _consumed(self) -> None:
        if self._feeder is not None:
            self._feeder.go_on(self)


class IMapUnorderedIterator(IMapIterator[R_co]):
    """What `Pool.imap_unordered` returns: as `IMapIterator`, but each value comes as soon as it is ready."""

    _ordered = False


def name_of(func: Any) -> str:
    """What to call a function in messages: no repr(), which may be long, or raise."""
    name = getattr(func, "__qualname__", None)
    if isinstance(name, str):
        return name
    called = getattr(getattr(func, "func", None), "__qualname__", None)  # functools.partial has it
    kind = type(func).__qualname__
    return f"{kind}({called})" if isinstance(called, str) else f"<{kind} object>"


def call_back(callback: Callable[[Any], object], value: Any) -> None:
    """Call it; print what it raises."""
    try:
        callback(value)
    except BaseException:
        # It must not end the thread that delivers results, on which all others depend.
        with contextlib.suppress(BaseException):
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

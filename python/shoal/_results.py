"""What a pool gives out for tasks that are under way: a result for `apply` and `map`, an iterator for `imap`.

Each is a `Job`: one call of one of the pool's methods, of which the pool makes one or several tasks. The result handler
thread tells it the outcome of each task, in any order; an outcome after the job has ended is ignored.
"""

from __future__ import annotations

import collections
import itertools
import sys
import threading
import time
from types import GenericAlias

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, TypeVar

    from shoal.pool import Pool

    R = TypeVar("R")
else:
    R = object  # type variables are for type checkers

    class Generic:
        __slots__ = ()
        # Subscripting is for annotations: it makes no class.
        __class_getitem__ = classmethod(GenericAlias)


_numbers = itertools.count()


class Job:
    """One call of a pool's method. It keeps the pool alive until it has ended."""

    def __init__(self, pool: Pool, method: str, func: Callable[..., Any], chunksize: int = 1) -> None:
        self._pool: Pool | None = pool
        self._crew = pool._crew
        self._method = method
        self._func_name = getattr(func, "__qualname__", None) or repr(func)
        self._chunksize = chunksize
        self._job = next(_numbers)
        self._crew.jobs[self._job] = self

    @property
    def _cache(self) -> dict[int, Job]:
        return self._crew.jobs

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
        return index * max(1, self._chunksize)

    def _set(self, index: int, ok: bool, value: Any) -> None:
        """Task `index` has returned `value`, or failed with it."""
        raise NotImplementedError

    def _abort(self, error: BaseException) -> None:
        """No more outcomes will come: whoever waits gets `error`. Calls no callback."""
        raise NotImplementedError

    def _end(self) -> None:
        self._crew.forget(self._job)
        self._pool = None


class ApplyResult(Job, Generic[R]):
    """The result of `Pool.apply_async`, to be. Its methods may be called by any thread of the process that made it."""

    def __init__(
        self,
        pool: Pool,
        method: str,
        func: Callable[..., Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        chunksize: int = 1,
    ) -> None:
        self._event = threading.Event()
        self._success = True
        self._value: Any = None
        self._callback = callback
        self._error_callback = error_callback
        super().__init__(pool, method, func, chunksize)

    def ready(self) -> bool:
        """Whether the call has ended, in whatever way."""
        return self._event.is_set()

    def successful(self) -> bool:
        """Whether the call has returned a value. Raises ValueError if it has not ended."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended, or for `timeout` seconds."""
        self._event.wait(timeout)

    def get(self, timeout: float | None = None) -> R:
        """The value that the call returned, waiting for it.

        Raises what the call raised, with the worker's traceback as its cause; WorkerDied if the worker ended meanwhile;
        ProcessError if the pool was terminated first; multiprocessing.TimeoutError after `timeout` seconds.
        """
        self.wait(timeout)
        if not self.ready():
            raise _stdlib.context.TimeoutError
        if self._success:
            return self._value  # type: ignore[no-any-return]
        raise self._value

    def _set(self, index: int, ok: bool, value: Any) -> None:
        self._finish(ok, value)

    def _abort(self, error: BaseException) -> None:
        self._callback = self._error_callback = None
        self._finish(False, error)

    def _finish(self, ok: bool, value: Any) -> None:
        if self._event.is_set():
            return
        self._success, self._value = ok, value
        callback: Callable[[Any], object] | None = self._callback if ok else self._error_callback
        if callback is not None:
            _call_back(callback, value)
        self._event.set()
        self._end()


AsyncResult = ApplyResult


class MapResult(ApplyResult[list[R]]):
    """The result of `Pool.map_async`, to be: a list. It has ended when all tasks have, whether or not one failed.

    If some failed, `get` raises the error of the first that was heard of.
    """

    def __init__(self, length: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._value = [None] * length
        self._left = -(-length // self._chunksize)
        if self._left == 0:
            self._finish(True, self._value)

    @property
    def _number_left(self) -> int:
        return self._left

    def _set(self, index: int, ok: bool, value: Any) -> None:
        if self._event.is_set():
            return
        if ok and self._success:
            self._value[index * self._chunksize : (index + 1) * self._chunksize] = value
        elif not ok and self._success:
            self._success, self._value = False, value
        self._left -= 1
        if self._left == 0:
            self._finish(self._success, self._value)


class IMapIterator(Job, Generic[R]):
    """What `Pool.imap` returns: the values, in the order of the iterable, each as soon as it is there.

    A task that failed raises in its turn; iteration may go on after that. May be used by several threads.
    """

    _ordered = True

    def __init__(self, pool: Pool, method: str, func: Callable[..., Any], chunksize: int, ahead: int) -> None:
        self._cond = threading.Condition()
        self._arrived: dict[int, tuple[bool, Any]] = {}  # ordered: outcomes that wait for their turn
        self._ready: collections.deque[tuple[bool, Any]] = collections.deque()  # to be handed out next
        self._done = 0  # tasks heard of; ordered: tasks whose outcome was moved to _ready
        self._length: int | None = None  # tasks in all, once that is known
        self._error: BaseException | None = None
        # The feeder takes one unit for each task, which comes back with its outcome.
        self.room = threading.Semaphore(ahead)
        super().__init__(pool, method, func, chunksize)

    def __iter__(self) -> IMapIterator[R]:
        return self

    def next(self, timeout: float | None = None) -> R:
        """The next value, waiting for it.

        Raises StopIteration at the end; what the task raised; WorkerDied if its worker ended; ProcessError if the pool
        was terminated first; multiprocessing.TimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._cond:
            while not self._ready:
                if self._error is not None:
                    raise self._error
                if self._done == self._length:
                    raise StopIteration
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise _stdlib.context.TimeoutError
                self._cond.wait(left)
            ok, value = self._ready.popleft()
        if ok:
            return value  # type: ignore[no-any-return]
        raise value

    __next__ = next

    @property
    def ended(self) -> bool:
        return self._error is not None

    def _set(self, index: int, ok: bool, value: Any) -> None:
        self.room.release()
        with self._cond:
            if not self._ordered:
                self._hand_out(ok, value)
            else:
                self._arrived[index] = ok, value
                while self._done in self._arrived:
                    self._hand_out(*self._arrived.pop(self._done))
            self._end_if_complete()

    def set_length(self, length: int) -> None:
        """The iterable has ended, after `length` tasks."""
        with self._cond:
            self._length = length
            self._end_if_complete()

    def _abort(self, error: BaseException) -> None:
        with self._cond:
            self._error = error
            self._cond.notify_all()
            self._end()
        self.room.release()

    def _hand_out(self, ok: bool, value: Any) -> None:
        self._done += 1
        if ok and self._chunksize > 1:
            self._ready.extend((True, item) for item in value)
        else:
            self._ready.append((ok, value))
        self._cond.notify_all()

    def _end_if_complete(self) -> None:
        if self._done == self._length:
            self._cond.notify_all()
            self._end()


class IMapUnorderedIterator(IMapIterator[R]):
    """What `Pool.imap_unordered` returns: as `IMapIterator`, but each value comes as soon as it is ready."""

    _ordered = False


def _call_back(callback: Callable[[Any], object], value: Any) -> None:
    try:
        callback(value)
    except BaseException:
        # It must not end the result handler, on which all other results depend.
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

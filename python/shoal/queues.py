"""Queues between processes: those of `multiprocessing.queues`, and what Shoal adds to them.

`put` and `get` are the native core's methods, inherited and not wrapped: an item goes into shared memory in the calling
thread. So there is no feeder thread: an item is in the queue when `put` returns, an object that cannot be pickled
raises in `put`, and `join_thread` has nothing to wait for.
"""

from __future__ import annotations

import os
from queue import Empty as Empty
from queue import Full as Full
from types import GenericAlias, TracebackType

from shoal import _core, _queue_ends, _stdlib, alias
from shoal._core import Lease as Lease
from shoal._sharing import duplicated_all
from shoal.errors import ShutDown as ShutDown

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import BaseContext
    from typing import Any, Literal, overload

    from typing_extensions import Self, TypeVar

    from shoal._core import Queue as _Native

    T = TypeVar("T", default=Any)
else:
    T = object  # type variables are for type checkers

    class _Native(_core.Queue):
        # Subscripting is for annotations: Queue[int]() and Queue() make the same object.
        __class_getitem__ = classmethod(GenericAlias)


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


class _Shared(_Native[T]):
    """What queues have beside native methods: the way to another process, asyncio, multiprocessing's two ends."""

    _reader = _queue_ends.Reader()
    _writer = _queue_ends.Writer()

    def __getstate__(self) -> tuple[Any, ...]:
        return (duplicated_all(self, self.descriptors()),)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        descriptors = state[0].detach()
        try:
            _core.Queue.__init__(self, descriptors=descriptors)
        finally:
            # Attaching duplicates them; these were made for this queue alone.
            for descriptor in descriptors:
                os.close(descriptor)

    if TYPE_CHECKING:

        @overload
        async def aget(self, *, lease: Literal[False] = False) -> T: ...
        @overload
        async def aget(self, *, lease: Literal[True]) -> Lease[T]: ...

    async def aget(self, *, lease: bool = False) -> T | Lease[T]:
        """Take the oldest item, as `get` does; while there is none, other tasks of the event loop run.

        The loop watches `fileno()`: no thread, no polling. A task that is cancelled at whatever point leaves the item
        in the queue. As with asyncio.Queue, a task that finds an item at once does not let others run first.

        Raises ShutDown once the queue is shut down and empty. Any number of tasks, event loops and threads may wait for
        one queue. Nobody else may use the loop's `add_reader` with the same descriptor meanwhile: `os.dup` it.
        """
        # Here, since asyncio is large: a process that has imported it takes a third longer to fork.
        import functools

        from shoal._waiting_tasks import attempt_until_done

        take: Callable[[], Any] = functools.partial(self.get, False, lease=True) if lease else self.get_nowait
        return await attempt_until_done(self, take, Empty, self.fileno, self.qsize)

    async def aput(self, obj: T) -> None:
        """Append `obj`, as `put` does; while the queue is full, other tasks of the event loop run.

        The loop watches `room_fileno()`. A task that is cancelled has put nothing. Otherwise as `aget`.
        """
        import functools

        from shoal._waiting_tasks import attempt_until_done

        put = functools.partial(self.put_nowait, obj)
        await attempt_until_done(self, put, Full, self.room_fileno, self._room)

    def _room(self) -> int:
        # How many more items fit; not known, that is 1, where bytes are counted.
        return self.maxsize - self.qsize() if self.maxsize else 1

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.aget()
        except ShutDown:
            raise StopAsyncIteration from None


@_core.with_own_methods
class Queue(_Shared[T]):
    """A first-in first-out queue of picklable objects, for any number of producers and consumers in any processes.

    `maxsize` is the most items it may hold; once they have `maxbytes` bytes together, encoded, it takes no more either.
    0 or less: no bound but memory. The methods are those of `multiprocessing.Queue`: `put` and `get` raise `queue.Full`
    and `queue.Empty`, ValueError once this handle is closed, and whatever pickling raises, at the caller. `qsize`,
    `empty` and `full` are exact at some instant of the call.

    Shoal's own: `put_many` and `get_many`, `shutdown`, iteration, `get(lease=True)`, `aput`, `aget` and `async for` in
    asyncio, and for other event loops `fileno()` and `room_fileno()`, which poll readable while the queue is not empty,
    and not full.

    Threads and signals: all methods may be called concurrently; waiting ones release the GIL and run Python's signal
    handlers. fork: the child shares the queue. Other processes: pass it as an argument of a process, or send it through
    a connection or another queue. Kill-safety: a process may be killed at any instruction; its items are whole or
    absent and the queue goes on.
    """

    _ignore_epipe = False

    def __init__(self, maxsize: int = 0, *, maxbytes: int = 0, ctx: BaseContext | None = None) -> None:
        super().__init__(maxsize, maxbytes=maxbytes)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # concurrent.futures learns of unpicklable tasks by overriding this hook.
        if cls._on_queue_feeder_error is not Queue._on_queue_feeder_error:
            cls._reports_put_errors = True

    # What multiprocessing's feeder thread calls if an object cannot be pickled. There is no such thread here, and `put`
    # raises; but where this is set, it calls the hook instead: in such subclasses, and where `multiprocessing` means
    # shoal (see shoal.alias).
    _reports_put_errors = alias.installed()

    @staticmethod
    def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
        if isinstance(e, MemoryError):
            raise e  # not the object's fault, and nobody would expect it to be lost
        import sys
        import traceback

        caller = sys._getframe(1)  # who called `put`; its line would be in the traceback if `put` had raised
        where = TracebackType(e.__traceback__, caller, caller.f_lasti, caller.f_lineno)
        traceback.print_exception(type(e), e, where)

    @property
    def _maxsize(self) -> int:
        return self.maxsize or int(_stdlib.synchronize.SEM_VALUE_MAX)

    @property
    def _closed(self) -> bool:
        return self.closed

    def join_thread(self) -> None:
        """Return at once: what was put is in the queue already. As in multiprocessing, only allowed after `close`."""
        assert self.closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Do nothing: there is no thread that could delay the end of the process."""

    def _terminate_broken(self) -> None:
        self.close()


@_core.with_own_methods
class JoinableQueue(Queue[T]):
    """A `Queue` that can be waited for until all that was put into it has been worked on.

    Whoever takes an item calls `task_done` when done with it. A process that is killed in between has not, and `join`
    goes on waiting; where that must not be, take items on lease: then somebody else gets the item. A lease that is
    acknowledged does not count as done by itself.
    """

    def task_done(self) -> None:
        """Count one item that was taken as done. Raises ValueError if all that were put have been counted."""
        self._count_done()

    def join(self) -> None:
        """Wait until every item that was ever put has been counted as done, or dropped by shutdown(immediate=True).

        There is no descriptor for this: in asyncio, let a thread wait, by `await asyncio.to_thread(queue.join)`.
        """
        self._wait_until_done()


@_core.with_own_methods
class SimpleQueue(_Shared[T]):
    """A queue without a bound, that keeps `multiprocessing.SimpleQueue`'s promises; otherwise as `Queue`."""

    def __init__(self, *, ctx: BaseContext | None = None) -> None:
        super().__init__()

    def empty(self) -> bool:
        """Whether it is empty. Raises OSError once this handle is closed, as in multiprocessing."""
        if self.closed:
            raise OSError("handle is closed")
        return super().empty()

"""Queues between processes, as in `multiprocessing.queues`.

`put` and `get` are the native core's methods, inherited and not wrapped: an item goes into shared memory in the calling
thread. So there is no feeder thread: an item is in the queue when `put` returns, an object that cannot be pickled
raises in `put`, and `join_thread` has nothing to wait for.
"""

from __future__ import annotations

import os
import select
import time
import traceback
from queue import Empty as Empty
from queue import Full as Full
from types import GenericAlias
from typing import TYPE_CHECKING, Any

from shoal import _core, _stdlib

__all__ = ["JoinableQueue", "Queue", "SimpleQueue"]

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.queues import JoinableQueue

    from typing_extensions import TypeVar

    from shoal._core import Queue as _Native

    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")
    JoinableQueue = _stdlib.queues.JoinableQueue

    class _Native(_core.Queue):
        # Subscripting is for annotations: Queue[int]() and Queue() make the same object.
        __class_getitem__ = classmethod(GenericAlias)


def __getattr__(name: str) -> Any:
    return _stdlib.missing_attribute(__name__, _stdlib.queues, name)


class _Shared(_Native[T]):
    """What both kinds of queue have beside native methods: the way to a new process, and multiprocessing's two ends."""

    def __getstate__(self) -> tuple[Any, ...]:
        _stdlib.context.assert_spawning(self)
        return tuple(_stdlib.reduction.DupFd(descriptor) for descriptor in self.descriptors())

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        segment, readiness = (descriptor.detach() for descriptor in state[:2])
        try:
            _core.Queue.__init__(self, descriptors=(segment, readiness))
        finally:
            # Attaching duplicates them; these were made for this queue alone.
            os.close(segment)
            os.close(readiness)

    @property
    def _reader(self) -> _End:
        return _End(self, "_reader_closed")

    @property
    def _writer(self) -> _End:
        return _End(self, "_writer_closed")


class Queue(_Shared[T]):
    """A first-in first-out queue of picklable objects, for any number of producers and consumers in any processes.

    `maxsize` is the most items it may hold (0 or less: no bound but memory). The methods are those of
    `multiprocessing.Queue`: `put` and `get` raise `queue.Full` and `queue.Empty`, ValueError once this handle is
    closed, and whatever pickling raises, at the caller. `fileno()` polls readable while the queue is not empty, for
    `select` and event loops. `qsize`, `empty` and `full` are exact at some instant of the call.

    Threads and signals: all methods may be called concurrently; waiting ones release the GIL and run Python's signal
    handlers. fork: the child shares the queue. Other start methods: pass it as an argument of the process; at any other
    time it refuses to be pickled. Kill-safety: a process may be killed at any instruction; its items are whole or
    absent and the queue goes on.
    """

    _ignore_epipe = False

    def __init__(self, maxsize: int = 0, *, ctx: BaseContext | None = None) -> None:
        super().__init__(max(0, maxsize))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # concurrent.futures learns of unpicklable tasks by overriding this hook of multiprocessing's feeder thread.
        # There is no such thread here, so for such a class `put` itself calls the hook.
        if cls._on_queue_feeder_error is not Queue._on_queue_feeder_error and "put" not in cls.__dict__:
            cls.put = _put_reporting_to_hook  # type: ignore[method-assign,assignment]

    @staticmethod
    def _on_queue_feeder_error(e: Exception, obj: Any) -> None:
        traceback.print_exception(type(e), e, e.__traceback__)

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


def _put_reporting_to_hook(self: Queue[Any], obj: Any, block: bool = True, timeout: float | None = None) -> None:
    try:
        _core.Queue.put(self, obj, block, timeout)
    except Full:
        raise
    except Exception as error:
        if self.closed:
            raise
        self._on_queue_feeder_error(error, obj)


class SimpleQueue(_Shared[T]):
    """An unbounded queue with little more than `put`, `get`, `empty` and `close`; otherwise as `Queue`."""

    def __init__(self, *, ctx: BaseContext | None = None) -> None:
        super().__init__()

    def empty(self) -> bool:
        """Whether it is empty. Raises OSError once this handle is closed, as in multiprocessing."""
        if self.closed:
            raise OSError("handle is closed")
        return super().empty()


class _End:
    """One end of a queue as a connection of multiprocessing shows it, for programs that wait for `queue._reader`.

    Closing an end only marks it closed: it has no descriptor of its own.
    """

    def __init__(self, queue: _Shared[Any], flag: str) -> None:
        self._queue = queue
        self._flag = flag

    @property
    def closed(self) -> bool:
        return self._queue.closed or self._flag in self._queue.__dict__

    def close(self) -> None:
        self._queue.__dict__[self._flag] = True

    def fileno(self) -> int:
        return self._queue.fileno()

    def poll(self, timeout: float | None = 0.0) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        ready = select.poll()
        ready.register(self._queue.fileno(), select.POLLIN)
        while self._queue.empty():
            # Readable may be a false alarm (see the queue's contract), and another process may take the item.
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready.poll(None if left is None else left * 1000)
        return True

    def recv(self) -> Any:
        return self._queue.get()

    def send(self, obj: Any) -> None:
        self._queue.put(obj)

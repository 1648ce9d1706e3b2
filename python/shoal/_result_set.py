"""Results of a pool that are waited for together: whichever is there first comes out first."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections import deque
from types import GenericAlias

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from typing import Any, Generic, TypeVar

    from typing_extensions import Self

    from shoal._results import ApplyResult

    R = TypeVar("R", bound="ApplyResult[Any] | Future[Any]")
else:
    R = object  # type variables are for type checkers

    class Generic:
        # Subscripting is for annotations: it makes no class.
        __class_getitem__ = classmethod(GenericAlias)


class ResultSet(Generic[R]):
    """Results that are under way, of one pool or several: each comes out once its call has ended, in that order.

        results = shoal.pool.ResultSet()
        results.add(pool.apply_async(thumbnail, [path]))
        ...
        for result in results:
            show(result.get())

    It is made of what `apply_async` and `map_async` return, and of futures, and may be added to at any time. `fileno()`
    is one descriptor for all, which polls readable while there is one that has ended: for `shoal.wait`, `selectors` and
    event loops. A handler takes as many as it likes by `next(timeout=0)`, and is called again if there are more.

    Methods may be called by any thread of the process that made it; by one at a time, those that take.
    """

    def __init__(self, results: Iterable[R] = ()) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._under_way: set[R] = set()
        self._ended: deque[R] = deque()
        for result in results:
            self.add(result)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        with contextlib.suppress(AttributeError):
            _close(self._descriptor)

    def __len__(self) -> int:
        """How many are still to come out."""
        return len(self._under_way)

    def add(self, result: R) -> None:
        """Add one that is not in the set. Raises TypeError for what is no result, and no future."""
        added: Any = result
        when_done = getattr(added, "add_done_callback", None) or getattr(added, "_when_done", None)
        if when_done is None:
            kind = type(result).__qualname__
            raise TypeError(f"result is of type {kind}, expected what apply_async or map_async returned, or a future")
        if hasattr(added, "_when_done"):
            added.ready()  # which raises in a fork, where no outcome comes
        self._under_way.add(result)
        when_done(_telling(weakref.ref(self)))

    def fileno(self) -> int:
        """The descriptor; for nothing it is readable no longer than until somebody has called `next`."""
        return self._descriptor

    def next(self, timeout: float | None = None) -> R:
        """Take the next result that has ended, waiting for it.

        Raises StopIteration if there is none left in the set; multiprocessing.TimeoutError after `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with contextlib.suppress(IndexError):
                return self._take()
            if not self._under_way:
                raise StopIteration
            left = None if until is None else max(0.0, until - time.monotonic())
            if not _core.wait([self], left):
                raise _stdlib.context.TimeoutError

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        return self.next()

    def _has_ended(self, result: R) -> None:
        self._ended.append(result)
        os.eventfd_write(self._descriptor, 1)

    def _take(self) -> R:
        # Without a lock, which a signal handler might find held by what it has interrupted.
        try:
            result = self._ended[0]
            self._under_way.discard(result)  # first, lest an interrupt leave one that never comes out
            self._ended.popleft()
            return result
        finally:
            if not self._ended:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._descriptor)
                if self._ended:
                    os.eventfd_write(self._descriptor, 1)


def _telling(results: weakref.ref[ResultSet[Any]]) -> Callable[[Any], None]:
    # Futures keep what they call, also afterwards. The set, which has them, must not be part of a cycle.
    def tell(result: Any) -> None:
        told = results()
        if told is not None:
            told._has_ended(result)

    return tell

"""Locks and events between processes, as in `multiprocessing.synchronize`.

The methods of `Lock` and `Event` are the native core's, inherited and not wrapped. What Shoal does not have yet
(`RLock`, `Condition`, the semaphores, `Barrier`) is the standard library's, and works together with these: a
`Condition` takes a `shoal.Lock`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shoal import _core, _stdlib
from shoal._sharing import duplicated_all

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.synchronize import Barrier, BoundedSemaphore, Condition, RLock, Semaphore
else:
    from_stdlib = _stdlib.synchronize
    Barrier = from_stdlib.Barrier
    BoundedSemaphore = from_stdlib.BoundedSemaphore
    Condition = from_stdlib.Condition
    RLock = from_stdlib.RLock
    Semaphore = from_stdlib.Semaphore
    del from_stdlib

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


def __getattr__(name: str) -> Any:
    return _stdlib.missing_attribute(__name__, _stdlib.synchronize, name)


def _state_of(shared: _core.SemLock | _core.Event) -> tuple[Any, int]:
    """What another process needs to reach it: the arena's descriptor and the slot in the arena."""
    arena, slot = shared.location()
    popen = _stdlib.context.get_spawning_popen()
    if popen is None:
        return duplicated_all(shared, (arena,)), slot
    # One descriptor for all locks of one arena: a fork server takes at most 256 of them for a process.
    sent: dict[int, Any] = popen.__dict__.setdefault("_shoal_arenas", {})
    if arena not in sent:
        sent[arena] = duplicated_all(shared, (arena,))
    return sent[arena], slot


@contextmanager
def _location_in(state: tuple[Any, int]) -> Iterator[tuple[int, int]]:
    """What to attach to, while the arena's descriptor is open."""
    sent, slot = state
    (arena,) = sent.detach()
    try:
        yield arena, slot
    finally:
        # One that this process got at its start stays open: other locks may come with the same one.
        if sent.each_time_new:
            os.close(arena)


class Lock(_core.SemLock):
    """A non-recursive lock that any process or thread may release, with the methods of `multiprocessing.Lock`.

    Releasing a lock that nobody holds raises ValueError.

    Threads and signals: all methods may be called concurrently; `acquire` releases the GIL while it waits and runs
    Python's signal handlers. fork: the child shares the lock. Other processes of the same user: pass it as an argument
    of the process, or send it through a connection or a queue, and keep this process alive until it was received.
    Takes no descriptor of its own: ten thousand of them fit under any limit.
    """

    def __init__(self, *, ctx: BaseContext | None = None) -> None:
        super().__init__()

    @property
    def _semlock(self) -> _core.SemLock:
        """Where the standard library's Condition and Value look for the lock's inner methods."""
        return self

    def __getstate__(self) -> tuple[Any, int]:
        return _state_of(self)

    def __setstate__(self, state: tuple[Any, int]) -> None:
        with _location_in(state) as location:
            _core.SemLock.__init__(self, attach=location)

    def __repr__(self) -> str:
        if self._is_mine():
            owner = str(_stdlib.process.current_process().name)
            thread = threading.current_thread().name
            if thread != "MainThread":
                owner += f"|{thread}"
        elif self._get_value() == 1:
            owner = "None"
        elif self._count() > 0:
            owner = "SomeOtherThread"
        else:
            owner = "SomeOtherProcess"
        return f"<{type(self).__name__}(owner={owner})>"


class Event(_core.Event):
    """A flag that processes set, clear and wait for, with the methods of `multiprocessing.Event`.

    A waiter that is killed disturbs nobody. Threads, signals, fork and other processes: as `Lock`.
    """

    def __init__(self, *, ctx: BaseContext | None = None) -> None:
        super().__init__()

    def __getstate__(self) -> tuple[Any, int]:
        return _state_of(self)

    def __setstate__(self, state: tuple[Any, int]) -> None:
        with _location_in(state) as location:
            _core.Event.__init__(self, attach=location)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"

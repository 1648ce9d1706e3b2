"""Locks and what else processes synchronize by, as in `multiprocessing.synchronize`: all of them are classes.

The methods that programs call in a loop are the native core's, inherited and not wrapped.

What is true of all of them: methods may be called concurrently, by any thread and process. Those that wait release the
GIL and run Python's signal handlers, so Ctrl-C works. fork: the child shares the object, and holds nothing of what its
parent holds. Other processes of the same user: pass it as an argument of the process, or send it through a connection
or a queue, and keep this process alive until it was received. They take no descriptor of their own: ten thousand of
them fit under any limit. (Only an Event has one, if it can be had, once it is polled, sent, or inherited by a fork.) A
process may be killed at any instruction, and the others go on. `ctx` is for the programs that pass a context, as to the
standard library's classes; it changes nothing.
"""

from __future__ import annotations

import errno
import operator
import threading
import time

from shoal import _core, _lock_reports, _stdlib  # noqa: F401  the core asks _lock_reports for what its errors say
from shoal._arena_slots import location_in, polled_location_in, polled_state_of, state_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import BaseContext
    from typing import Any, Literal, TypeVar

    from typing_extensions import Self

    OnOwnerDeath = Literal["raise", "recover"]
    T = TypeVar("T")

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"]


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


def _recovers(on_owner_death: str) -> bool:
    if on_owner_death not in ("raise", "recover"):
        raise ValueError(f"on_owner_death is {on_owner_death!r}, expected 'raise' or 'recover'")
    return on_owner_death == "recover"


def _label_in_memory(label: str) -> str:
    """As much of a label as a lock has room for."""
    return label.encode(errors="replace")[:31].decode(errors="ignore")


def _text_of_owner(lock: Lock | RLock) -> str:
    """What the standard library says of the owner of a lock."""
    if lock._is_mine():
        owner = str(_stdlib.process.current_process().name)
        thread = threading.current_thread().name
        return owner if thread == "MainThread" else f"{owner}|{thread}"
    if lock._get_value() == 1:
        return "None"
    return "SomeOtherThread" if lock._count() > 0 else "SomeOtherProcess"


@_core.with_own_methods
class Lock(_core.Lock):
    """A non-recursive lock that any process or thread may release, with the methods of `multiprocessing.Lock`.

    If the process that holds it dies, however that comes, the next `acquire` gets the lock and is told so: it raises
    `OwnerDied`, with the lock held. `with lock:` raises it too, but gives the lock back, since its block is not
    entered. With `on_owner_death="recover"` neither is told and the lock is simply free; that is a policy of this
    handle, and of those that are made of it by sending it. What counts is the process: a thread that ends keeps its
    locks.

    `acquire(timeout=..., raises=True)` raises TimeoutError instead of returning False, and says who holds the lock and
    for how long. Without it, a thread that has waited in vain for a Lock that it holds itself gets a RuntimeWarning.
    Releasing a lock that nobody holds raises ValueError. `label` is shown by `shoal.debug` and in errors; its first 31
    bytes are kept.
    """

    def __init__(
        self, *, on_owner_death: OnOwnerDeath = "raise", label: str = "", ctx: BaseContext | None = None
    ) -> None:
        super().__init__(label=_label_in_memory(label), recovers=_recovers(on_owner_death))

    @property
    def on_owner_death(self) -> OnOwnerDeath:
        """What `acquire` does when the holder has died."""
        return "recover" if self._recovers else "raise"

    @property
    def _semlock(self) -> Self:
        """Where code of the standard library looks for the lock's inner methods."""
        return self

    def __getstate__(self) -> tuple[Any, bool]:
        return state_of(self), self._recovers

    def __setstate__(self, state: tuple[Any, bool]) -> None:
        place, recovers = state
        with location_in(place) as location:
            _core.Lock.__init__(self, recovers=recovers, attach=location)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={_text_of_owner(self)})>"


@_core.with_own_methods
class RLock(_core.RLock):
    """A recursive lock, with the methods of `multiprocessing.RLock`: its thread may acquire it again.

    Releasing it in a thread that does not hold it raises AssertionError. In all else as `Lock`: the death of the
    process that holds it is told to the next one.
    """

    def __init__(
        self, *, on_owner_death: OnOwnerDeath = "raise", label: str = "", ctx: BaseContext | None = None
    ) -> None:
        super().__init__(label=_label_in_memory(label), recovers=_recovers(on_owner_death))

    @property
    def on_owner_death(self) -> OnOwnerDeath:
        """What `acquire` does when the holder has died."""
        return "recover" if self._recovers else "raise"

    @property
    def _semlock(self) -> Self:
        return self

    def __getstate__(self) -> tuple[Any, bool]:
        return state_of(self), self._recovers

    def __setstate__(self, state: tuple[Any, bool]) -> None:
        place, recovers = state
        with location_in(place) as location:
            _core.RLock.__init__(self, recovers=recovers, attach=location)

    def __repr__(self) -> str:
        owner = _text_of_owner(self)
        count = self._count() if self._is_mine() else 0 if owner == "None" else "nonzero"
        return f"<{type(self).__name__}({owner}, {count})>"


@_core.with_own_methods
class Semaphore(_core.Semaphore):
    """A number of units to acquire and release, with the methods of `multiprocessing.Semaphore`.

    Any process or thread may release one. A process that is killed between `acquire` and `release` takes its unit with
    it: nobody can know whether it meant to return it. Where that matters, use a `Lock`, whose holder's death is told.
    Releasing more than 2**31 - 1 raises ValueError, a negative `value` OSError, as in the standard library.
    """

    def __init__(self, value: int = 1, *, ctx: BaseContext | None = None) -> None:
        super().__init__(_checked_units(value), 2**31 - 1)

    @property
    def _semlock(self) -> Self:
        return self

    def __getstate__(self) -> tuple[Any, int]:
        return state_of(self)

    def __setstate__(self, state: tuple[Any, int]) -> None:
        with location_in(state) as location:
            _core.Semaphore.__init__(self, 0, 0, attach=location)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()})>"


@_core.with_own_methods
class BoundedSemaphore(Semaphore):
    """A `Semaphore` that never has more units than at first: releasing one more raises ValueError."""

    def __init__(self, value: int = 1, *, ctx: BaseContext | None = None) -> None:
        units = _checked_units(value)
        _core.Semaphore.__init__(self, units, units)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self.maxvalue})>"


def _checked_units(value: int) -> int:
    units = operator.index(value)
    if units < 0:
        raise OSError(errno.EINVAL, f"a semaphore cannot begin with {units} units")
    if units >= 2**31:
        raise OverflowError(f"a semaphore has at most 2**31 - 1 units, not {units}")
    return units


class _Number:
    """A number in place of a semaphore of which somebody wants to know the value."""

    def __init__(self, value: int) -> None:
        self._value = value

    def get_value(self) -> int:
        return self._value

    _get_value = get_value


@_core.with_own_methods
class Condition(_core.Condition):
    """A condition variable, with the methods of `multiprocessing.Condition`.

    `lock` is held by who waits and who notifies: one of Shoal's (an `RLock` if none is given), or another with the same
    methods. `wait` releases an RLock that was acquired several times altogether, and acquires it as often.

    Who waited longest is notified first. A notification is never lost: one that was for a process which is killed
    before it can go on is passed on to another that waits, within a second. If the lock's holder died while this one
    waited, `wait` raises `OwnerDied`, with the lock held. An exception of a signal handler leaves `wait` with the lock
    held; a second one, if that is not to be had, without.
    """

    def __init__(self, lock: Any = None, *, ctx: BaseContext | None = None) -> None:
        super().__init__(RLock() if lock is None else lock)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until `predicate()` is true, and return what it returned last; after `timeout` seconds in any case."""
        until = None if timeout is None else time.monotonic() + timeout
        while not (result := predicate()):
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    # What tests of the standard library look at: how many wait is the first less the second.

    @property
    def _sleeping_count(self) -> _Number:
        return _Number(self._waiting())

    @property
    def _woken_count(self) -> _Number:
        return _Number(0)

    @property
    def _wait_semaphore(self) -> _Number:
        return _Number(0)

    def __getstate__(self) -> tuple[Any, Any]:
        return self._lock, state_of(self)

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        lock, place = state
        with location_in(place) as location:
            _core.Condition.__init__(self, lock, attach=location)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self._lock}, {self._waiting()})>"


@_core.with_own_methods
class Event(_core.Event):
    """A flag that processes set, clear and wait for, with the methods of `multiprocessing.Event`.

    A waiter that is killed disturbs nobody. All methods may be called by a signal handler, also by one that has
    interrupted a method of the same event.

    `fileno()` is a descriptor that polls readable while the event is set, for `connection.wait`, `selectors` and event
    loops, in every process that has the event. The event takes none before somebody asks, but one is made when the
    process forks, or when the event is sent to another.
    """

    def __init__(self, *, ctx: BaseContext | None = None) -> None:
        super().__init__()

    async def await_(self) -> Literal[True]:
        """Wait in asyncio until the event is set, as `wait` does; other tasks of the event loop run meanwhile.

        The loop watches `fileno()`: no thread, no polling. Any number of tasks, event loops and threads may wait; one
        that is cancelled disturbs no other. An event that is cleared again at once may not be noticed, since what the
        loop sees is whether it is set. Nobody else may use the loop's `add_reader` with the same descriptor meanwhile:
        `os.dup` it.
        """
        # Here, since asyncio is large.
        from shoal._waiting_tasks import until_set

        await until_set(self)
        return True

    def __getstate__(self) -> tuple[Any, ...]:
        return polled_state_of(self)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        with polled_location_in(state) as location:
            _core.Event.__init__(self, attach=location)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} at {id(self):#x} {'set' if self.is_set() else 'unset'}>"


@_core.with_own_methods
class Barrier(_core.Barrier):
    """A point that `parties` processes or threads reach together, phase by phase, as `multiprocessing.Barrier`.

    `wait` returns once all have come: a number from 0 to parties - 1, another one to each. The last to come first calls
    `action`, if there is one. The barrier is broken, and those who wait or come get `threading.BrokenBarrierError`,
    when one who waits is killed (within a second) or has waited for longer than the timeout, when `action` raises, and
    by `abort`; until `reset`. Ctrl-C takes back the arrival of the one that it interrupts.
    """

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: BaseContext | None = None,
    ) -> None:
        if not 0 < operator.index(parties) < 2**16:
            raise ValueError(f"parties is {parties}, expected a number from 1 to 65535")
        super().__init__(parties, action, timeout)

    def __getstate__(self) -> tuple[Any, Callable[[], object] | None, float | None]:
        return state_of(self), self._action, self._timeout

    def __setstate__(self, state: tuple[Any, Callable[[], object] | None, float | None]) -> None:
        place, action, timeout = state
        with location_in(place) as location:
            _core.Barrier.__init__(self, 0, action, timeout, attach=location)

    def __repr__(self) -> str:
        state = "broken" if self.broken else f"waiters={self.n_waiting}/{self.parties}"
        return f"<{type(self).__module__}.{type(self).__qualname__} at {id(self):#x}: {state}>"

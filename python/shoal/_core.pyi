"""The native core: handles on objects in shared memory, without Python-level conveniences.

All of it may be used by any thread. A wait releases the GIL, runs Python's signal handlers and goes on, unless one
raises; its timeout is in seconds of the monotonic clock, None for ever. A fork shares what its parent has; another
process attaches to it through the descriptors that it has inherited or received, which are duplicated, not consumed.
Any process may be killed at any instruction: the others go on.
"""

from collections.abc import Iterable
from typing import Any, Generic, Literal, overload

from typing_extensions import Self, TypeVar

_T = TypeVar("_T", default=Any)

__version__: str

class Queue(Generic[_T]):
    """A first-in first-out queue of picklable objects.

    Built-in scalars, strings, bytes, lists, tuples and dicts travel as MessagePack, all else by pickle. Can be
    subclassed. Iteration takes items, as get() does, and ends when the queue is shut down and empty.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        maxbytes: int = 0,
        label: str = "",
        memory_limit: int = 0,
        descriptors: tuple[int, ...] | None = None,
    ) -> None:
        """Make a queue, or attach to one.

        It takes no more items while it has `maxsize` of them, or they have `maxbytes` bytes together (0: no bound). It
        grows to at most `memory_limit` bytes of shared memory (0: what there is). `label` is seen in /proc/PID/fd.
        Raises OSError if no descriptor or memory is left, SegmentError if the descriptors are not those of a queue.
        """

    def put(self, obj: _T, block: bool = True, timeout: float | None = None) -> None:
        """Append `obj`, waiting while the queue is full.

        Raises queue.Full if it stayed full, ShutDown after shutdown(), ValueError after close(), MemoryError, and what
        pickling raises; then nothing was put.
        """

    @overload
    def get(self, block: bool = True, timeout: float | None = None, *, lease: Literal[False] = False) -> _T: ...
    @overload
    def get(self, block: bool = True, timeout: float | None = None, *, lease: Literal[True]) -> Lease[_T]:
        """Take the oldest item, waiting while the queue is empty; with `lease` a Lease of it.

        Raises queue.Empty if it stayed empty, ShutDown if it is so after shutdown(), ValueError after close(),
        CorruptRecord if the memory was overwritten, and what unpickling raises; then the item is lost.
        """

    def put_nowait(self, obj: _T) -> None:
        """put(obj, block=False)."""

    def get_nowait(self) -> _T:
        """get(block=False)."""

    def put_many(self, iterable: Iterable[_T], block: bool = True, timeout: float | None = None) -> None:
        """Append all that `iterable` gives, with one lock and one wake-up for many of them, waiting while it is full.

        Items are sent by the hundred, so that an endless iterable is no problem, but an item of a slow one waits for
        those behind it. Waits at most `timeout` seconds altogether.

        Raises what put() raises, and what the iterable raises. Whatever the exception, its attribute `put_count` tells
        how many items are in the queue: the first ones that the iterable gave.
        """

    def get_many(self, max_items: int, timeout: float | None = None) -> list[_T]:
        """Take up to `max_items` items that are there now, waiting only for the first.

        Waits at most `timeout` seconds (None: for ever; 0: not at all) and returns an empty list if nothing came. One
        lock and one wake-up for many items, so draining 100 items costs little more than one.

        Raises ShutDown once the queue is shut down and empty. If unpickling an item raises, that item is lost, and the
        others that were taken are in the exception's attribute `items`. Safe in any thread and process; interrupted by
        signals like `get`.
        """

    def __iter__(self) -> Self: ...
    def __next__(self) -> _T: ...
    def qsize(self) -> int:
        """The number of items, exact at some instant of the call; so are empty() and full()."""

    def empty(self) -> bool:
        """Whether there is no item. As in multiprocessing, OSError after close() if this handle has put something."""

    def full(self) -> bool:
        """Whether a put() would wait."""

    def close(self) -> None:
        """Give up this handle: its later put and get raise ValueError. Others are not concerned; compare shutdown()."""

    def shutdown(self, immediate: bool = False) -> None:
        """End the queue for all processes: put() raises ShutDown from now on, and get() does once the queue is empty.

        Whoever waits in them is woken. With `immediate` all items are dropped, and counted as done; one that is out on
        lease may still come back.
        """

    @property
    def is_shutdown(self) -> bool:
        """Whether any process has called shutdown()."""

    def fileno(self) -> int:
        """A descriptor that polls readable while the queue is not empty or was shut down, now and then for nothing.

        Only poll it, level-triggered. It lives as long as this handle. Raises OSError if no descriptor is left.
        """

    def room_fileno(self) -> int:
        """The same for putting: readable while the queue is not full, or was shut down.

        Raises io.UnsupportedOperation, which is an OSError, if the queue has no bound.
        """

    def descriptors(self) -> tuple[int, ...]:
        """What another process needs to attach: two descriptors, of a bounded queue three."""

    def _count_done(self) -> None:
        """Count an item as done. Raises ValueError if all that were put have been counted."""

    def _wait_until_done(self) -> None:
        """Wait until all items that were put have been counted as done."""

    @property
    def maxsize(self) -> int: ...
    @property
    def maxbytes(self) -> int: ...
    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""

class Lease(Generic[_T]):
    """An item that was taken on lease: get(lease=True).

    It counts as taken, and comes back to the front of the queue unless it is acknowledged: when it is given back, when
    its holder dies in whatever way, and when the last reference to the lease is dropped. As a context manager it
    acknowledges at the end of the block, or gives back if the block raises.

    A forked child's copy of it does nothing. Threads: may share it; it ends once.
    """

    @property
    def item(self) -> _T: ...
    @property
    def active(self) -> bool:
        """Whether it was neither acknowledged nor given back."""

    def acknowledge(self) -> None:
        """The item is done with: it will not come back. Raises ValueError if the lease has ended."""

    def give_back(self) -> None:
        """Put the item back to the front of the queue. Raises ValueError if the lease has ended."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

class SemLock:
    """A lock that any thread of any process may release: the interface that multiprocessing expects of a `_semlock`."""

    def __init__(self, *, attach: tuple[int, int] | None = None) -> None:
        """Make a free lock, or attach to the one at location() of another process."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock, waiting while it is held; False if it stayed held."""

    def release(self) -> None:
        """Free the lock. Raises ValueError if it is free."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def _is_mine(self) -> bool:
        """Whether this thread holds it."""

    def _count(self) -> int:
        """1 if a thread of this process holds it."""

    def _get_value(self) -> int:
        """1 if it is free."""

    def _is_zero(self) -> bool:
        """Whether somebody holds it."""

    def location(self) -> tuple[int, int]:
        """The descriptor of the arena it lives in, and its slot there, which nobody else is given from now on."""

class Event:
    """A flag that can be waited for."""

    def __init__(self, *, attach: tuple[int, int] | None = None) -> None:
        """Make a cleared event, or attach to the one at location() of another process."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if it stayed cleared."""

    def location(self) -> tuple[int, int]:
        """As SemLock.location."""

class WorkQueue:
    """Tasks from an owner to worker processes, and exactly one outcome of each back.

    Each worker has a number, its slot. The owner must say when a worker has died (`lost`), and then take back what it
    had (`reclaim`), before the slot goes to another.
    """

    def __init__(self, slots: int, *, descriptors: tuple[int, ...] | None = None) -> None:
        """Make one for workers 0 to slots-1, or attach to one (then `slots` does not matter)."""

    def submit(self, task: Any) -> int:
        """Owner: send a task; its ticket. Raises what pickling raises; then nothing was sent."""

    def next(self, timeout: float | None = None) -> tuple[int, bool, Any] | int | None:
        """Owner: wait for what comes next; None: nothing did.

        (ticket, True, outcome), or (ticket, False, the exception that unpickling it raised), or the slot of a lost
        worker, after everything which that worker had finished.
        """

    def lost(self, slot: int) -> None:
        """Owner: the worker in this slot has died; `next` will return it."""

    def reclaim(self, slot: int) -> int | None:
        """Owner: the ticket of the task that the dead worker had taken and not finished, if any; frees the slot."""

    def close(self) -> None:
        """Owner: no more tasks; workers get what is left, and then None."""

    def pending(self) -> int:
        """Tasks that nobody has taken yet."""

    def take(self, slot: int, timeout: float | None = None) -> tuple[int, bool, Any] | None:
        """Worker: wait for a task; None: closed and nothing left, or nothing came in time.

        (ticket, True, task), or (ticket, False, the exception that unpickling it raised).
        """

    def finish(self, slot: int, ticket: int, outcome: Any) -> None:
        """Worker: send the outcome of the task it has. Raises what pickling raises; then nothing was sent."""

    def descriptors(self) -> tuple[int, ...]:
        """What another process needs to attach."""

class ProcessHandle:
    """A pidfd on a child of this process."""

    def __init__(self, pid: int) -> None:
        """Raises OSError if there is no such process or no descriptor left."""

    def fileno(self) -> int:
        """The pidfd: polls readable once the process has ended."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code, or None if the process goes on.

        The code is minus the signal that killed it, and 255 if somebody else has asked the system for it before.
        """

    def send_signal(self, signal: int) -> None:
        """Do nothing once the process has ended."""

    def close(self) -> None: ...

def die_with_parent() -> None:
    """Have this process killed when its parent process dies, however it dies."""

def raise_descriptor_limit() -> None:
    """Let this process open as many descriptors as its hard limit allows; the core does so when it runs out of them."""

def encode(obj: Any) -> tuple[int, bytes]:
    """How Queue.put would send `obj`: the encoding (1 MessagePack, 2 pickle) and the bytes."""

def decode(encoding: int, data: bytes) -> Any:
    """What Queue.get would make of it. Raises CorruptRecord."""

def set_error_types(types: dict[str, type[Exception]]) -> None:
    """Say which exceptions to raise: "SegmentError", "CorruptRecord", "ProcessError" and "ShutDown"."""

"""The native core: handles on objects in shared memory, without Python-level conveniences.

All of it may be used by any thread. A wait releases the GIL, runs Python's signal handlers and goes on, unless one
raises; its timeout is in seconds of the monotonic clock, None for ever. A fork shares what its parent has; another
process attaches to it through the descriptors that it has inherited or received, which are duplicated, not consumed.
Any process may be killed at any instruction: the others go on.
"""

from typing import Any, Generic

from typing_extensions import TypeVar

_T = TypeVar("_T", default=Any)

__version__: str

class Queue(Generic[_T]):
    """A first-in first-out queue of picklable objects.

    Built-in scalars, strings, bytes, lists, tuples and dicts travel as MessagePack, all else by pickle. Can be
    subclassed.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        label: str = "",
        max_bytes: int = 0,
        descriptors: tuple[int, int] | None = None,
    ) -> None:
        """Make a queue of at most `maxsize` items (0: no bound) in at most `max_bytes` of memory, or attach to one.

        `label` is seen in /proc/PID/fd. Raises OSError if no descriptor or memory is left, SegmentError if the
        descriptors are not those of a queue.
        """

    def put(self, obj: _T, block: bool = True, timeout: float | None = None) -> None:
        """Append `obj`, waiting while the queue is full.

        Raises queue.Full if it stayed full, ValueError after close(), and what pickling raises; then nothing was put.
        """

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Take the oldest item, waiting while the queue is empty.

        Raises queue.Empty if it stayed empty, ValueError after close(), CorruptRecord if the memory was overwritten,
        and what unpickling raises; then the item is lost.
        """

    def put_nowait(self, obj: _T) -> None:
        """put(obj, block=False)."""

    def get_nowait(self) -> _T:
        """get(block=False)."""

    def qsize(self) -> int:
        """The number of items, exact at some instant of the call; so are empty() and full()."""

    def empty(self) -> bool: ...
    def full(self) -> bool: ...
    def close(self) -> None:
        """Give up this handle: its later put and get raise ValueError. Others are not concerned."""

    def fileno(self) -> int:
        """A descriptor that polls readable while the queue is not empty, and now and then for nothing: only poll it."""

    def descriptors(self) -> tuple[int, int]:
        """What another process needs to attach."""

    @property
    def maxsize(self) -> int: ...
    @property
    def closed(self) -> bool:
        """Whether this handle was closed."""

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

def encode(obj: Any) -> tuple[int, bytes]:
    """How Queue.put would send `obj`: the encoding (1 MessagePack, 2 pickle) and the bytes."""

def decode(encoding: int, data: bytes) -> Any:
    """What Queue.get would make of it. Raises CorruptRecord."""

def set_error_types(types: dict[str, type[Exception]]) -> None:
    """Say which exceptions to raise: "SegmentError", "CorruptRecord" and "ProcessError"."""

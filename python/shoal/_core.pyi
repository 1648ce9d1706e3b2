"""The native core: handles on objects in shared memory, without Python-level conveniences.

All of it may be used by any thread. A wait releases the GIL, runs Python's signal handlers and goes on, unless one
raises; its timeout is in seconds of the monotonic clock, None for ever. A fork shares what its parent has; another
process attaches to it through the descriptors that it has inherited or received, which are duplicated, not consumed.
Any process may be killed at any instruction: the others go on.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Literal, NoReturn, overload

from typing_extensions import Self, TypeVar

from shoal._crew import Crew

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

class _OwnedLock:
    """What Lock and RLock have in common; not a class of the module."""

    def __init__(self, *, label: str = "", recovers: bool = False, attach: tuple[int, int] | None = None) -> None:
        """Make a free lock, or attach to the one at location() of another process.

        `recovers`: the death of a holder is not told by this handle.
        """

    def acquire(self, block: bool = True, timeout: float | None = None, *, raises: bool = False) -> bool:
        """Take the lock, waiting while it is held; False if it stayed held, or LockTimeout with `raises`.

        Raises OwnerDied, with the lock held, if the process that held it has died.
        """

    def release(self) -> None:
        """Free the lock, or undo one acquire() of an RLock.

        Raises ValueError if it is a Lock that is free, AssertionError if it is an RLock that this thread does not hold.
        """

    def __enter__(self) -> bool:
        """Take the lock. Raises OwnerDied without the lock held."""

    def __exit__(self, *args: object) -> None: ...
    def locked(self) -> bool:
        """Whether somebody holds it."""

    @property
    def label(self) -> str: ...
    @property
    def _recovers(self) -> bool: ...
    def _is_mine(self) -> bool:
        """Whether this thread holds it."""

    def _count(self) -> int:
        """How often a thread of this process has acquired it."""

    def _get_value(self) -> int:
        """1 if it is free."""

    def _is_zero(self) -> bool:
        """Whether somebody holds it."""

    def _holder(self) -> tuple[int, int, int, bool] | None:
        """Process, thread, since when on the monotonic clock in nanoseconds, and whether the thread lives."""

    def _waiting(self) -> int:
        """How many threads wait for it."""

    def location(self) -> tuple[int, int]:
        """The descriptor of the arena it lives in, and its slot there, which nobody else is given from now on."""

class Lock(_OwnedLock):
    """A lock that any thread of any process may release, and that is free when the process of its holder dies."""

class RLock(_OwnedLock):
    """The same, recursive: its thread may acquire it again, and nobody else may release it."""

class Semaphore:
    """Units that any thread of any process may acquire and release."""

    def __init__(self, units: int, most: int, *, attach: tuple[int, int] | None = None) -> None:
        """Make one, or attach to the one at location() of another process (then the numbers do not matter)."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take a unit, waiting while there is none; False if none came."""

    def release(self) -> None:
        """Give a unit back. Raises ValueError if that would be more than there may be."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def locked(self) -> bool:
        """Whether no unit is free."""

    def get_value(self) -> int:
        """How many units are free."""

    @property
    def maxvalue(self) -> int: ...
    def _is_mine(self) -> bool:
        """Whether this thread was the last of this process to acquire one, and not all have been released."""

    def _count(self) -> int:
        """How many more this process has acquired than released."""

    def _get_value(self) -> int: ...
    def _is_zero(self) -> bool: ...
    def location(self) -> tuple[int, int]:
        """As Lock.location."""

class Condition:
    """A line of threads that wait to be notified."""

    def __init__(self, lock: Any, *, attach: tuple[int, int] | None = None) -> None:
        """Make one, or attach to the one at location() of another process."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """That of the lock."""

    def release(self) -> None:
        """That of the lock."""

    def __enter__(self) -> bool: ...
    def __exit__(self, *args: object) -> None: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and acquire the lock again; False if nobody has notified in time.

        Raises AssertionError if this thread does not hold the lock, OwnerDied as acquire(), with the lock held.
        """

    def notify(self, n: int = 1) -> None:
        """Notify up to n of those who wait. Raises AssertionError if this thread does not hold the lock."""

    def notify_all(self) -> None:
        """Notify all who wait. Raises AssertionError if this thread does not hold the lock."""

    @property
    def _lock(self) -> Any: ...
    def _waiting(self) -> int:
        """How many wait and were not notified."""

    def location(self) -> tuple[int, int]:
        """As Lock.location."""

class Event:
    """A flag that can be waited for."""

    def __init__(self, *, attach: tuple[int, int, int] | None = None) -> None:
        """Make a cleared event, or attach to the one at location() of another process."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if it stayed cleared."""

    def fileno(self) -> int:
        """A descriptor that polls readable while it is set, in every process; only to be polled.

        There is none before the first call, or a fork or location(), when it is made for later calls. It may be
        readable an instant before the event is set; and if a process was killed in set() or clear(), for nothing until
        somebody calls is_set(), clear() or wait(). Raises OSError if no descriptor is left, now, or few were at a fork.
        """

    def location(self) -> tuple[int, int, int]:
        """As Lock.location, and the descriptor of fileno(), which stays the event's; -1 if it cannot have one."""

class Barrier:
    """A point that a number of threads reach together."""

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None,
        timeout: float | None,
        *,
        attach: tuple[int, int] | None = None,
    ) -> None:
        """Make one, or attach to the one at location() of another process (then `parties` does not matter)."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all have come; how many came before this one. Raises BrokenBarrierError."""

    def abort(self) -> None:
        """Break the barrier: those who wait or come get BrokenBarrierError."""

    def reset(self) -> None:
        """Make it as new; those who wait get BrokenBarrierError."""

    @property
    def parties(self) -> int: ...
    @property
    def n_waiting(self) -> int:
        """How many wait."""

    @property
    def broken(self) -> bool: ...
    @property
    def _action(self) -> Callable[[], object] | None: ...
    @property
    def _timeout(self) -> float | None: ...
    def location(self) -> tuple[int, int]:
        """As Lock.location."""

def with_own_methods(derived: type[_T]) -> type[_T]:
    """A class decorator: what the class inherits from one of this module is called in less time."""

def survey_locks(process: int | None) -> list[dict[str, Any]]:
    """All locks and the like in the arenas of a process, None: this one's. See lock_survey.hpp for what is told.

    Raises OSError if this process may not look at that one, or there is none.
    """

def processes_with_locks(process: int | None) -> list[int]:
    """The processes that have used what is in these arenas and live; some may come several times."""

class PoolJob:
    """One call of a pool's method, as the native side sees it: what outcomes are delivered to."""

    @property
    def _crew(self) -> Crew: ...
    @property
    def _method(self) -> str:
        """The name of the method that was called."""

    @property
    def _func_name(self) -> str: ...
    @property
    def _chunksize(self) -> int:
        """Items of each task but the last."""

    @property
    def _ended(self) -> bool:
        """Whether all outcomes are there, or none will come any more."""

    _task_timeout: float
    """Seconds that a task may run; 0: no limit."""
    _retries_wanted: bool
    """Its failed tasks are shown to the crew's `_retry` first."""
    _is_called_back: bool
    """It is shown to the crew's `_called_back` when its outcome is there, and not ready before `completed`."""
    _is_watched: bool
    """Its `_tell` is called when it is ready."""
    _progress: Any
    """If not None, told how many items are done, by `update(n)`, and by `close()` that all are."""

    def _abort(self, error: BaseException) -> bool:
        """No more outcomes will come: whoever waits gets `error`. Ignored once it has ended, and then False."""

class PoolResult(PoolJob):
    """A call with one result; from `length` 0 on that is a list, made by tasks of `chunk_size` items."""

    def __init__(self, pool: Any, crew: Any, method: str, name: str, chunk_size: int, length: int, /) -> None: ...
    @property
    def _is_ready(self) -> bool: ...
    @property
    def _succeeded(self) -> bool: ...
    @property
    def _tasks_left(self) -> int: ...
    @property
    def _value(self) -> Any:
        """The result, or what was raised."""

    def _fail(self, error: BaseException) -> bool:
        """As `_abort`, but ready only after `_completed` if `_is_called_back`."""
    def _completed(self) -> None:
        """What was to be called with the outcome has been."""

class PoolResults(PoolJob):
    """A call whose results are taken one by one, by iteration; that calls `_wait_for_more` where there is none yet."""

    def __init__(self, pool: Any, crew: Any, method: str, name: str, chunk_size: int, ordered: bool, /) -> None: ...
    @property
    def _is_ready(self) -> bool:
        """Whether there is a result, or the end."""

    @property
    def _tasks_consumed(self) -> int:
        """Tasks whose results have all been taken."""
    _ahead: int
    """How many tasks may be under way, or done and not taken. Once there is room again, `_consumed` is called."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

class WorkQueue:
    """Calls from an owner to worker processes, and exactly one outcome of each back.

    Each worker has a number, its slot; the last slot is for no worker. The owner must say when a worker has died
    (`lost`), and then take back what it had (`reclaim`), before the slot goes to another.
    """

    def __init__(self, slots: int, *, descriptors: tuple[int, ...] | None = None) -> None:
        """Make one for workers 0 to slots-2, or attach to one (then `slots` does not matter)."""
    weak_crew: Callable[[], Any]
    """Owner: a weak reference to what decides, by methods whose names begin with an underscore, whatever has to be."""

    def submit(self, job: PoolJob, index: int, kind: int, function: Any, arguments: Any) -> None:
        """Owner: send task `index` of a job unless it has ended. Raises what pickling raises; then nothing was sent."""

    def submit_items(self, job: PoolJob, kind: int, function: Any, items: Iterator[Any], at_once: bool) -> int:
        """Owner: send the job's next tasks, made of chunks of `items`. What cannot be sent fails.

        With `at_once` each is sent before the next item is asked for. Return why it ended: 0, there are no more items,
        or the job has ended; 1, the job has no room, and its `_consumed` will be called; 2, too much is in flight; 3,
        another thread is at it. Without `at_once` it raises what `items` and pickling raise, if that is no
        Exception.
        """

    def wait_for(self, job: PoolJob, timeout: float | None) -> None:
        """Owner: wait until the job is ready or the time is over; meanwhile deliver outcomes, unless another does."""

    def receive_unattended(self) -> None:
        """Owner: deliver outcomes until some thread waits for a job, nothing is expected, or `wake`."""

    def look(self) -> None:
        """Owner: deliver what outcomes there are, unless another thread does."""

    def wake(self) -> None:
        """Owner: let whoever waits look again."""
    bell: int
    """An eventfd for the supervisor; written to when a loss has come out, and by `expect`."""
    refusal: BaseException | None
    """If not None, what jobs that begin from now on fail with."""
    watching: bool
    """The supervisor was asked by `expect`, and has not yet seen to it."""

    def expect(self) -> None:
        """Owner: ask the supervisor to see to it that somebody receives."""

    def take_lost(self) -> list[int]:
        """Owner: the slots of workers whose loss has come out, after everything that they had finished."""

    @property
    def attending(self) -> int:
        """Threads that wait for a job."""

    def fail(self, job: PoolJob, index: int, error: BaseException) -> None:
        """Owner: the task has failed, and nothing else will be heard of it."""

    def open(self, job: PoolJob) -> None:
        """Owner: the job has begun."""

    def ended(self, job: PoolJob) -> None:
        """Owner: the job has ended otherwise than by an outcome."""

    def open_jobs(self) -> list[Any]: ...
    @property
    def open_count(self) -> int: ...
    @property
    def expects_something(self) -> bool:
        """Whether there are open jobs, losses that have not come out, or somebody who is to be told something."""

    def wait_for_room(self, job: PoolJob) -> None:
        """Owner: wait until half of what may be is in flight, or the job has ended. Interrupted by nothing else."""
    def entry(self, ticket: int, taking: bool) -> tuple[Any, int] | None:
        """Owner: the job and the index of a task without an outcome; forgotten if `taking`."""

    def tickets_of(self, job: PoolJob) -> list[int]:
        """Owner: those of the job's tasks that have no outcome."""

    def call_off(self, ticket: int) -> tuple[bool, int | None]:
        """Owner: nobody is to begin this task. (Whether nobody will, or the slot of the worker that is at it.)

        That worker does nothing else, and must be killed now.
        """

    def take_condemned(self) -> bool:
        """Owner: whether there are workers to be killed since this was asked last; the bell rings when there is one."""

    def condemned(self) -> list[int]:
        """Owner: the slots of workers whose task was called off, and that are to be killed."""

    def withdraw(self, ticket: int) -> tuple[bool, int | None]:
        """The same, but a worker that is at it goes on."""

    def running(self, slot: int) -> tuple[int, float | None] | None:
        """Owner: the ticket of what the worker is at, and for how many seconds, if the job has a timeout."""

    def account(self, slot: int) -> tuple[int, float, int, int]:
        """Owner: tasks finished, seconds spent waiting for tasks, bytes of tasks, bytes of outcomes."""

    def lost(self, slot: int) -> None:
        """Owner: the worker in this slot has died; `take_lost` will return it."""

    def reclaim(self, slot: int) -> int | None:
        """Owner, after that: the ticket of the task the worker had taken and not finished. The slot is free then."""

    def close_when_idle(self) -> None:
        """Owner: close as soon as no job is open."""

    def close(self) -> None:
        """Owner: workers take what is there, and then return from `serve`."""

    def pending(self) -> int:
        """Tasks that no worker has taken."""

    def serve(
        self,
        slot: int,
        most: int | None,
        report: Callable[[Exception], Any],
        unsendable: Callable[[Exception, Any], Any],
        left_behind: Callable[[], NoReturn],
    ) -> None:
        """Worker: run tasks until the queue is closed and empty, or `most` were run.

        What a task raises is sent as `report` makes it, if it is an Exception; what cannot be sent as `unsendable`
        makes it. `left_behind` is called in a process that a task has forked and that comes back from it.
        """

    def descriptors(self) -> tuple[int, ...]:
        """What another process attaches by."""

class ProcessHandle:
    """A process that this one has started, by its pidfd, until it is closed."""

    @property
    def pid(self) -> int: ...
    def fileno(self) -> int:
        """The pidfd: polls readable once the process has ended."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end; the exit code, or None if the process goes on.

        The code is minus the signal that killed it, and 255 if it is not to be had: somebody else has asked the system
        for it before, or the fork server was killed before the process ended.
        """

    def reap(self) -> int | None:
        """As `wait(0)`, which may wait a moment for the fork server to tell how an ended process has ended; this does
        not.
        """

    def send_signal(self, signal: int) -> None:
        """Do nothing once the process has ended."""

    def close(self) -> None: ...

START_CHANNEL: int
"""The descriptor by which a program that was executed finds its channel."""

def fork() -> ProcessHandle | None:
    """Fork this interpreter; None in the child, which begins when the parent has its pidfd.

    All signals are blocked in the child until it calls `unblock_signals`, so that none is lost or arrives too early.

    Raises OSError, with nothing left behind. Warns of threads, like `os.fork` of Python 3.12 and later.
    """

def unblock_signals() -> None:
    """In the child of `fork`: have the signals blocked that were so in the parent, and receive the others."""

def start_program(
    path: bytes,
    arguments: Sequence[bytes],
    environment: Sequence[bytes] | None,
    package: bytes,
    descriptors: Sequence[int],
) -> ProcessHandle:
    """Execute a program in a new child, which gets the package and duplicates of the descriptors by its channel.

    It has an empty standard input, this process's standard output and error, the channel, and no other descriptors.
    `environment` is a list of NAME=value, or None for this process's. Raises OSError, with nothing left behind.
    """

def receive_package(channel: int) -> tuple[bytes, list[int]] | None:
    """Wait for what this process was started with; None if its starter has died, or given up."""

def receive_from_launcher(door: int) -> bytes | None:
    """In a fork server: what `launch` was given; None if the launcher has died, or given up."""

def serve_forks(door: int) -> int | None:
    """Be a fork server until it has no client left. In each child: the channel by which that gets its package."""

class ForkServerDoor:
    """Where processes are asked for; any number of processes may have it. Threads: as any object."""

    def __init__(self, descriptor: int) -> None:
        """Takes over a descriptor that was received."""

    @staticmethod
    def launch(path: bytes, arguments: Sequence[bytes], message: bytes) -> tuple[ForkServerDoor, ProcessHandle]:
        """Execute a program whose channel is the other side of the door, and which is to call `receive_from_launcher`
        and `serve_forks`. It has the message, or has ended, as this returns; if this raises, it is at its end.
        """

    def fileno(self) -> int: ...
    def start(self, package: bytes, descriptors: Sequence[int]) -> ProcessHandle | None:
        """Have the server fork a process that gets the package and duplicates of the descriptors by its channel.

        None if the server has ended: nothing was started. Raises OSError if there is no process or descriptor left.
        """

def die_with_parent(parent: int) -> None:
    """Have this process killed when `parent`, which has to be its parent, dies, however it dies."""

def die_with_starter(channel: int) -> None:
    """The same in a child of a fork server: when the process dies that had it started, by this channel."""

def set_process_name(name: bytes) -> None:
    """Set the name that ps and top show, of at most 15 bytes."""

def raise_descriptor_limit() -> None:
    """Let this process open as many descriptors as its hard limit allows; the core does so when it runs out of them."""

def encode(obj: Any) -> tuple[int, bytes]:
    """How Queue.put would send `obj`: the encoding (1 MessagePack, 2 pickle) and the bytes."""

def decode(encoding: int, data: bytes) -> Any:
    """What Queue.get would make of it. Raises CorruptRecord."""

def set_error_types(types: dict[str, type[Exception]]) -> None:
    """Say which exceptions to raise: "SegmentError", "CorruptRecord", "ProcessError" and "ShutDown"."""

class SharedBlock:
    """Shared memory, zero at first: `size` bytes, offered as a buffer. Pages of a large one are allocated when touched.

    Raises OSError or MemoryError if no memory or descriptor is left, SegmentError if `attach` is no such block.
    """

    def __init__(self, size: int, *, attach: tuple[int, int] | None = None) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def location(self) -> tuple[int, int]:
        """The descriptor of its arena and its place there. Afterwards the memory is not used for anything else."""

class SynchronizedBase:
    """A ctypes object and the lock that guards it."""

    # What multiprocessing has as attributes of an instance.
    acquire: Any
    release: Any
    @property
    def _obj(self) -> Any: ...
    @property
    def _lock(self) -> Any: ...
    def _bind(self, obj: Any, lock: Any, block: SharedBlock | None, code: str | None, count: int, /) -> None:
        """For __init__, once. `block` is None if only ctypes knows how to use the object; `count` -1 if it is no array.

        `code` is the `_type_` of the object, or of its elements.
        """

    def get_obj(self) -> Any:
        """The ctypes object; using it does not take the lock."""

    def get_lock(self) -> Any: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *raised: object) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def _get_field(self, name: str, /) -> Any:
        """An attribute of the ctypes object, read with the lock held."""

    def _set_field(self, name: str, value: Any, /) -> None: ...

class SynchronizedValue(SynchronizedBase):
    """One object. Reading and writing `value` takes the lock; the methods are single steps that do without it."""

    value: Any
    def add(self, x: float, /) -> None:
        """Add; wraps around as ctypes does. Raises TypeError if this is no number, or `x` is not of its kind."""

    def fetch_add(self, x: float, /) -> Any:
        """As `add`; returns what was there before."""

    def compare_exchange(self, expected: float, desired: float) -> bool:
        """Replace what equals `expected`; returns whether it did."""

class SynchronizedArray(SynchronizedBase):
    """An array. Reading and writing elements and slices takes the lock; the methods are single steps without it."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: Any, /) -> Any: ...
    def __setitem__(self, i: Any, value: Any, /) -> None: ...
    def add(self, index: int, x: float) -> None:
        """Add to an element; wraps around as ctypes does. Raises IndexError, or TypeError as that of a value."""

    def fetch_add(self, index: int, x: float) -> Any:
        """As `add`; returns what was there before."""

    def compare_exchange(self, index: int, expected: float, desired: float) -> bool:
        """Replace an element that equals `expected`; returns whether it did."""

def fill_block(block: SharedBlock, code: str, values: Any, count: int) -> bool:
    """Convert `count` values of that type into a block; False if ctypes has to do it."""

def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """See shoal.connection.wait."""

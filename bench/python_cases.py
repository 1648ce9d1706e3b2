"""The cases of Python programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import names
from measuring import Case, Contestant, Unit
from names import ITEMS, KIB, MIB, SUBJECT

STANDARD = "multiprocessing"
FASTER_FIFO = "faster-fifo"
EXECUTORS = "concurrent.futures"
SERIAL = "serial"

# The same for all: each file takes another time.
FILES_OF_JOB = 800
# A pool by spawn takes half a second.
POOLS_STARTED = 8

TASKS = Unit("tasks/s")
CALLS = Unit("calls/s")


@dataclass(frozen=True)
class Item:
    """A kind of items of programs/items.py."""

    unit: Unit = ITEMS
    # 0: none. Large ones have one, or a producer that is ahead would measure how fast the kernel hands out memory.
    bound: int = 0
    # Beside multiprocessing, with one producer and one consumer, and with two and two.
    target: float | None = None
    target_of_two: float | None = None
    pickled: bool = False


KINDS = {
    "int": Item(target=40, target_of_two=25),
    "str": Item(target=40, target_of_two=25),
    "tuple": Item(),
    "dict": Item(target=15),
    "pickle": Item(target=6, pickled=True),
    "pickle_set": Item(target=6, pickled=True),
    "bytes1KB": Item(Unit("GB/s", scale=KIB / 1e9), target=20),
    "bytes1MB": Item(Unit("GB/s", scale=MIB / 1e9), bound=16, target=15),
    "numpy8MB": Item(Unit("GB/s", scale=8 * MIB / 1e9), bound=4, target=30),
}


def contestant(name: str, program: str, *arguments: str) -> Contestant:
    return Contestant(name, (sys.executable, str(Path(__file__).parent / "programs" / program), *arguments))


def contestants(program: str, *arguments: str, peers: Sequence[str] = ()) -> list[Contestant]:
    """Shoal and the peers: a program whose first argument is the library's name."""
    return [contestant(name, program, name, *arguments) for name in (SUBJECT, *peers)]


def beside_standard(target: float | None) -> dict[str, float]:
    return {} if target is None else {STANDARD: target}


def throughput_cases() -> Iterator[Case]:
    for kind, item in KINDS.items():
        arguments = (kind, str(item.bound))
        subject, *peers = contestants("queue_items.py", *arguments, "1", "one", peers=(STANDARD, FASTER_FIFO))
        if item.pickled:
            peers.append(contestant(names.BARE_PICKLE, "limits.py", "pickle", *arguments))
        if item.bound > 0:
            peers.append(contestant(names.BARE_MEMCPY, "limits.py", "memcpy", *arguments))
        yield Case(f"queue.python.{kind}.1p1c", item.unit, subject, peers, beside_standard(item.target))

        subject, *peers = contestants("queue_items.py", *arguments, "2", "one", peers=(STANDARD,))
        yield Case(f"queue.python.{kind}.2p2c", item.unit, subject, peers, beside_standard(item.target_of_two))

    subject, *peers = contestants("queue_items.py", "int", "0", "1", "many", peers=(FASTER_FIFO,))
    yield Case("queue.python.int.1p1c.many", ITEMS, subject, peers, {FASTER_FIFO: 5.0})


def queue_cost_cases() -> Iterator[Case]:
    subject, *peers = contestants("queue_round_trip.py", peers=(STANDARD, FASTER_FIFO))
    yield Case("queue.python.int.roundtrip", names.MICROSECONDS, subject, peers, limit=3.0)

    short = "shoal, 1 unread"
    yield Case(
        "queue.python.int.unread10M",
        names.NANOSECONDS,
        contestant(SUBJECT, "queue_unread.py", SUBJECT, str(names.LONG)),
        [contestant(short, "queue_unread.py", SUBJECT, "1")],
        {short: names.LEAST_RATIO_OF_LONG},
        count=names.LONG,
        most_runs=3,
    )

    for what, unit, limit in (
        ("wakeups", names.WAKEUPS, names.MOST_WAKEUPS),
        ("processor", names.PROCESSOR_TIME, names.MOST_PROCESSOR_TIME),
    ):
        (subject,) = contestants("queue_waiting.py", what)
        yield Case(
            f"queue.python.waiting.{what}", unit, subject, limit=limit, count=names.SECONDS_OF_WAITING, most_runs=1
        )


def sync_cases() -> Iterator[Case]:
    for name, what, target in (
        ("lock.uncontended", "lock", 2.0),
        ("lock.with", "with", 2.0),
        ("event.is_set", "event", 5.0),
        ("value.increment", "value", 3.0),
        ("value.add", "add", 20.0),
    ):
        subject, *peers = contestants("sync_calls.py", what, peers=(STANDARD,))
        yield Case(f"sync.python.{name}", CALLS, subject, peers, beside_standard(target))
    for code in ("b", "c", "i", "d"):
        for access in ("get", "set"):
            subject, *peers = contestants("sync_calls.py", f"{access}:{code}", peers=(STANDARD,))
            name = f"sync.python.array_1MB.{access}.{code}"
            yield Case(name, names.MICROSECONDS, subject, peers, beside_standard(5.0))
    for what in ("condition", "barrier"):
        subject, *peers = contestants("sync_hand_over.py", what, peers=(STANDARD,))
        yield Case(f"sync.python.{what}.hand_over", names.MICROSECONDS, subject, peers, beside_standard(1.5))


def pool_cases() -> Iterator[Case]:
    peers = (STANDARD, EXECUTORS, "loky", "mpire", "joblib", "ray", "dragonhpc")
    submitting = [name for name in peers if name != "joblib"]  # which has no single calls
    for name, shape, target, beside in (
        ("map.chunk1", "map", 10.0, peers),
        ("map.default", "default", 1.0, peers),
        ("imap_unordered.chunk1", "unordered", 10.0, peers),
        ("apply_async", "submit", 8.0, submitting),
        ("numpy1MB", "array", 15.0, peers),
    ):
        subject, *others = contestants("pool_tasks.py", shape, peers=beside)
        yield Case(f"pool.python.{name}", TASKS, subject, others, beside_standard(target))
    subject, *others = contestants("pool_tasks.py", "apply", peers=submitting)
    yield Case("pool.python.apply", names.MICROSECONDS, subject, others, beside_standard(5.0))

    for method, target in (("fork", 1.2), ("forkserver", 2.0), ("spawn", 1.5)):
        subject, *others = contestants("pool_start.py", method, peers=(STANDARD, EXECUTORS))
        name = f"pool.python.first_result.{method}"
        targets = beside_standard(target)
        yield Case(name, names.MICROSECONDS, subject, others, targets, count=POOLS_STARTED)

    subject, *others = contestants("pool_job.py", peers=(SERIAL, *peers))
    targets = {SERIAL: 1.9, **dict.fromkeys(peers, 1.0)}
    yield Case("pool.python.job", Unit("files/s"), subject, others, targets, count=FILES_OF_JOB, most_runs=5)


def process_cases() -> Iterator[Case]:
    for method, target in (("fork", 1.1), ("forkserver", 4.0), ("spawn", 1.6)):
        subject, *peers = contestants("process_start_join.py", method, peers=(STANDARD,))
        bare = {"fork": names.BARE_FORK, "spawn": names.BARE_INTERPRETER}.get(method)
        if bare is not None:
            peers.append(contestant(bare, "process_bare.py", method))
        name = f"process.python.start_join.{method}"
        yield Case(name, names.MICROSECONDS, subject, peers, beside_standard(target))
    subject, *peers = contestants("process_import.py", peers=(STANDARD,))
    peers.append(contestant(names.BARE_INTERPRETER, "process_bare.py", "spawn"))
    yield Case("process.python.import", names.MICROSECONDS, subject, peers, beside_standard(1.0))


def python_cases() -> Iterator[Case]:
    yield from throughput_cases()
    yield from queue_cost_cases()
    yield from sync_cases()
    yield from process_cases()
    yield from pool_cases()

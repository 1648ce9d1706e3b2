"""All cases: what is measured, beside whom, and what is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from measuring import Case, Contestant, Unit

SUBJECT = "shoal"
BOOST = "Boost.Interprocess message_queue"

ITEMS = Unit("items/s")
TASKS = Unit("tasks/s")
CALLS = Unit("calls/s")
MICROSECONDS = Unit("us", scale=1e6, per_second=False)

KIB = 1024
MIB = 1024 * 1024

# By the kinds of items in programs/queue_items.py: unit, bound of the queue, target beside multiprocessing.
PYTHON_ITEMS: dict[str, tuple[Unit, int, float | None]] = {
    "int": (ITEMS, 0, 40.0),
    "str": (ITEMS, 0, 40.0),
    "tuple": (ITEMS, 0, None),
    "dict": (ITEMS, 0, 12.0),
    "pickle": (ITEMS, 0, 5.0),
    "pickle_set": (ITEMS, 0, None),
    "bytes1KB": (Unit("GB/s", scale=KIB / 1e9), 0, None),
    # Bounded, or a producer that is ahead would measure how fast the kernel hands out gigabytes of fresh memory.
    "bytes1MB": (Unit("GB/s", scale=MIB / 1e9), 16, None),
}


def python_contestants(program: str, *arguments: str, peers: Sequence[str]) -> list[Contestant]:
    path = str(Path(__file__).parent / "programs" / program)
    return [Contestant(name, (sys.executable, path, name, *arguments)) for name in (SUBJECT, *peers)]


def python_cases() -> Iterator[Case]:
    for kind, (unit, bound, target) in PYTHON_ITEMS.items():
        subject, *peers = python_contestants(
            "queue_items.py", kind, str(bound), peers=("multiprocessing", "faster-fifo")
        )
        targets = {} if target is None else {"multiprocessing": target}
        yield Case(f"queue.python.{kind}.1p1c", unit, subject, peers, targets)

    for name, program, argument, unit in (
        ("pool.python.map.chunk1", "pool_map.py", "1", TASKS),
        ("pool.python.map.default", "pool_map.py", "default", TASKS),
        ("process.python.start_join.fork", "process_start_join.py", "fork", MICROSECONDS),
        ("sync.python.lock.uncontended", "sync_calls.py", "lock", CALLS),
        ("sync.python.event.is_set", "sync_calls.py", "event", CALLS),
    ):
        subject, *peers = python_contestants(program, argument, peers=("multiprocessing",))
        yield Case(name, unit, subject, peers)


def cpp_cases(folder: Path) -> Iterator[Case]:
    """`folder` is where the programs of bench/*.cpp are."""
    shoal, boost, ping_pong = (str(folder / name) for name in ("queue_64b", "queue_64b_boost", "ping_pong"))

    # Boost's has to be bounded; Shoal's is measured as it is by default and with the same bound.
    for name, bound in (("queue.cpp.64B.1p1c", "0"), ("queue.cpp.64B.1p1c.bounded", "1000")):
        yield Case(
            name,
            ITEMS,
            Contestant(SUBJECT, (shoal, "one_way", bound)),
            [Contestant(BOOST, (boost, "one_way", "1000"))],
            {BOOST: 1.0},
        )

    yield Case(
        "queue.cpp.64B.roundtrip",
        MICROSECONDS,
        Contestant(SUBJECT, (shoal, "round_trip")),
        [
            Contestant(BOOST, (boost, "round_trip")),
            # No queues: what the machine itself takes, for one who sleeps and for one who watches.
            Contestant("bare futex", (ping_pong, "futex")),
            Contestant("bare cache line", (ping_pong, "cache_line")),
        ],
    )


def all_cases(cpp_folder: Path) -> list[Case]:
    return [*python_cases(), *cpp_cases(cpp_folder)]

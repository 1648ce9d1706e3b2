"""The cases of C++ programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import names
from measuring import Case, Contestant, Kind, Unit
from names import ITEMS, KIB, MIB, SUBJECT

BOOST = "Boost.Interprocess message_queue"
SPSC = "boost::lockfree::spsc_queue"
ATOMIC = "atomic_queue"

ROBUST = "robust pthread_mutex_t"

MEGABYTES = Unit("MB", Kind.AMOUNT)
TASKS = Unit("tasks/s")
PERCENT = Unit("%", Kind.AMOUNT)
MILLISECONDS = Unit("ms", Kind.AMOUNT, 1e3)
GIGABYTES = Unit("GB/s", scale=MIB / 1e9)

BURST = 2 * 1024 * MIB


class Programs:
    """The contestants whose programs are in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def contestant(self, name: str, program: str, *arguments: str) -> Contestant:
        return Contestant(name, (str(self._folder / program), *arguments))

    def with_64b(self, name: str, *arguments: str) -> Contestant:
        program = {
            SUBJECT: "queue_64b",
            BOOST: "queue_64b_boost",
            SPSC: "queue_64b_spsc",
            ATOMIC: "queue_64b_atomic",
        }
        return self.contestant(name, program[name], *arguments)


def throughput_cases(programs: Programs) -> Iterator[Case]:
    # The others have to be bounded. Shoal's queue is measured as it is by default, and with the same bound.
    for name, bound in (("queue.cpp.64B.1p1c", "0"), ("queue.cpp.64B.1p1c.bounded", "1024")):
        yield Case(
            name,
            ITEMS,
            programs.with_64b(SUBJECT, "one_way", bound, "1", "1"),
            [programs.with_64b(peer, "one_way", "1024", "1", "1") for peer in (BOOST, SPSC, ATOMIC)],
            {BOOST: 2.0, SPSC: 1.0, ATOMIC: 1.0},
        )
    yield Case(
        "queue.cpp.64B.2p2c",
        ITEMS,
        programs.with_64b(SUBJECT, "one_way", "0", "2", "2"),
        [programs.with_64b(BOOST, "one_way", "1024", "2", "2")],
        {BOOST: 2.0},
    )


def round_trip_cases(programs: Programs) -> Iterator[Case]:
    yield Case(
        "queue.cpp.64B.roundtrip.awake",
        names.MICROSECONDS,
        programs.with_64b(SUBJECT, "round_trip"),
        [
            programs.with_64b(BOOST, "round_trip"),
            programs.with_64b(SPSC, "round_trip"),
            programs.with_64b(ATOMIC, "round_trip"),
            programs.contestant(names.BARE_CACHE_LINE, "ping_pong", "cache_line"),
        ],
        {names.BARE_CACHE_LINE: 1 / 2},
    )
    yield Case(
        "queue.cpp.64B.roundtrip.asleep",
        names.MICROSECONDS,
        programs.with_64b(SUBJECT, "asleep"),
        [
            programs.with_64b(BOOST, "asleep"),
            programs.contestant(names.BARE_FUTEX, "ping_pong", "asleep"),
        ],
        {names.BARE_FUTEX: 1 / 1.2},
        count=500,
    )


def large_record_cases(programs: Programs) -> Iterator[Case]:
    memcpy = programs.contestant(names.BARE_MEMCPY, "queue_1mb", "memcpy")
    touching = programs.contestant(names.BARE_SHARED_MEMORY, "queue_1mb", "bare")
    for what, peers, limit in (
        ("touched", [touching, memcpy], 20.0),
        ("handed_over", [memcpy], 20.0),
        ("copied", [touching, memcpy], None),
    ):
        subject = programs.contestant(SUBJECT, "queue_1mb", what)
        yield Case(f"queue.cpp.1MB.{what}", GIGABYTES, subject, peers, limit=limit)


def cost_cases(programs: Programs) -> Iterator[Case]:
    def costs(name: str, *arguments: str) -> Contestant:
        return programs.contestant(name, "queue_costs", *arguments)

    short = "shoal, 1 unread"
    yield Case(
        "queue.cpp.8B.unread10M",
        names.NANOSECONDS,
        costs(SUBJECT, "unread", str(names.LONG)),
        [costs(short, "unread", "1")],
        {short: names.LEAST_RATIO_OF_LONG},
        count=names.LONG,
        most_runs=3,
    )
    alone = "shoal, no other queues"
    yield Case(
        "queue.cpp.64B.1p1c.beside1000",
        ITEMS,
        costs(SUBJECT, "idle_queues", "1000"),
        [costs(alone, "idle_queues", "0")],
        {alone: 0.9},
    )
    for what, unit, limit in (
        ("wakeups", names.WAKEUPS, names.MOST_WAKEUPS),
        ("processor", names.PROCESSOR_TIME, names.MOST_PROCESSOR_TIME),
    ):
        yield Case(
            f"queue.cpp.waiting.{what}",
            unit,
            costs(SUBJECT, what),
            limit=limit,
            count=names.SECONDS_OF_WAITING,
            most_runs=1,
        )
    for size_name, size in (("1KB", KIB), ("1MB", MIB)):
        yield Case(
            f"queue.cpp.burst.{size_name}",
            MEGABYTES,
            costs(SUBJECT, "burst", str(size)),
            limit=64.0,
            count=BURST // size,
            most_runs=2,
        )


def lock_cases(programs: Programs) -> Iterator[Case]:
    def locks(name: str, *arguments: str) -> Contestant:
        return programs.contestant(name, "locks", *arguments)

    for what, target in (("uncontended", 1 / 1.2), ("contended", 1.0)):
        yield Case(
            f"sync.cpp.mutex.{what}",
            names.NANOSECONDS,
            locks(SUBJECT, what, "mutex"),
            [locks(ROBUST, what, "robust")],
            {ROBUST: target},
        )
    yield Case("sync.cpp.mutex.create", names.NANOSECONDS, locks(SUBJECT, "create"), limit=2000.0)
    yield Case(
        "sync.cpp.condition.hand_over",
        names.MICROSECONDS,
        locks(SUBJECT, "hand_over", "condition"),
        [locks(names.BARE_FUTEX, "hand_over", "futex")],
        {names.BARE_FUTEX: 1 / 1.2},
    )
    yield Case("sync.cpp.barrier", names.MICROSECONDS, locks(SUBJECT, "barrier"))
    # How fair the mutex is to two processes that do nothing but lock it. Nothing is promised.
    yield Case("sync.cpp.mutex.smaller_share", PERCENT, locks(SUBJECT, "share"), count=1_000_000)
    yield Case("sync.cpp.mutex.longest_wait", MILLISECONDS, locks(SUBJECT, "longest_wait"), count=1_000_000)


def process_cases(programs: Programs) -> Iterator[Case]:
    def starts(name: str, who: str, method: str, megabytes: int = 0) -> Contestant:
        return programs.contestant(name, "process_starts", who, method, str(megabytes))

    for method, bare in (("fork", names.BARE_FORK), ("spawn", names.BARE_SPAWN)):
        yield Case(
            f"process.cpp.start_join.{method}",
            names.MICROSECONDS,
            starts(SUBJECT, "shoal", method),
            [starts(bare, "bare", method)],
            {bare: 1 / 1.3},
        )
    yield Case("process.cpp.start_join.forkserver", names.MICROSECONDS, starts(SUBJECT, "shoal", "forkserver"))
    # A fork copies the tables of all memory that its parent has touched; a fork server has touched next to none.
    forking = "shoal, fork"
    yield Case(
        "process.cpp.start_join.forkserver.1GB",
        names.MICROSECONDS,
        starts(SUBJECT, "shoal", "forkserver", 1024),
        [starts(forking, "shoal", "fork", 1024), starts(names.BARE_FORK, "bare", "fork", 1024)],
        {forking: 50.0},
    )


def pool_cases(programs: Programs) -> Iterator[Case]:
    # Tasks that do nothing, in two workers; and with one, how soon it begins.
    for what, limit in (("map", 2_000_000.0), ("one_by_one", 500_000.0)):
        yield Case(f"pool.cpp.{what}", TASKS, programs.contestant(SUBJECT, "pool", what), limit=limit)
    yield Case("pool.cpp.dispatch", names.MICROSECONDS, programs.contestant(SUBJECT, "pool", "dispatch"), limit=2.0)
    yield Case("pool.cpp.round_trip", names.MICROSECONDS, programs.contestant(SUBJECT, "pool", "round_trip"))


def cpp_cases(folder: Path) -> Iterator[Case]:
    programs = Programs(folder)
    yield from throughput_cases(programs)
    yield from round_trip_cases(programs)
    yield from large_record_cases(programs)
    yield from cost_cases(programs)
    yield from lock_cases(programs)
    yield from process_cases(programs)
    yield from pool_cases(programs)

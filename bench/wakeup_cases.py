"""The cases of how soon event loops wake, in both languages, and of how fast their handlers take what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import names
from cpp_cases import Programs
from measuring import Case, Contestant
from names import ITEMS, SUBJECT
from python_cases import STANDARD, contestant, contestants

BARE = "bare eventfd"
NONE_IDLE = "shoal, none idle"
# How many more the loop watches, to which nothing is sent.
IDLE = 1_000

LEAST_RATIO_TO_BARE = 1 / 1.3
LEAST_RATIO_OF_MANY = 1 / 1.2
# Where both share a processor, much less than a time slice, in microseconds.
MOST_ON_ONE_PROCESSOR = 100.0
# What a display may be sent without falling behind.
LEAST_DRAINED = 100_000.0

# Each takes more than half a millisecond, which is spent on letting the loop fall asleep.
TIMES = 400
# Of which one in a hundred is asked for.
TIMES_FOR_P99 = 1_000
RUNS_FOR_P99 = 3

# Whether a wake-up of the loop takes as long with a thousand descriptors as with one, whatever they are. Those of the
# toolkits are poll(2) underneath.
CPP_LOOPS = {"epoll": True, "asio": True, "glib": False, "qt": False}
PYTHON_LOOPS = {
    "epoll": True,
    "asyncio": True,
    "asyncio:task": True,
    "uvloop": True,
    "uvloop:task": True,
    "glib": False,
    "qt": False,
}
# One descriptor for all: that of an epoll instance.
AROUND_EPOLL = ("glib+epoll", "qt+epoll")
SHARED_BY = ("epoll", "asyncio:task")
DRAINED_BY = ("epoll", "asyncio", "uvloop", "glib", "qt")

# Makes a contestant: its name, whether a queue wakes the loop, how many more are watched, and which time is printed.
Maker = Callable[[str, bool, int, str], Contestant]


def cases_of_one(name: str, make: Maker) -> Iterator[Case]:
    yield Case(
        name,
        names.MICROSECONDS,
        make(SUBJECT, True, 0, "median"),
        [make(BARE, False, 0, "median")],
        {BARE: LEAST_RATIO_TO_BARE},
        count=TIMES,
    )
    yield Case(
        f"{name}.p99",
        names.MICROSECONDS,
        make(SUBJECT, True, 0, "p99"),
        [make(BARE, False, 0, "p99")],
        count=TIMES_FOR_P99,
        most_runs=RUNS_FOR_P99,
    )


def case_of_shared(name: str, make: Maker) -> Case:
    return Case(
        f"{name}.shared",
        names.MICROSECONDS,
        make(SUBJECT, True, 0, "shared"),
        [make(BARE, False, 0, "shared")],
        limit=MOST_ON_ONE_PROCESSOR,
        count=TIMES,
    )


def case_of_many(name: str, make: Maker, alike: bool) -> Case:
    targets = {BARE: LEAST_RATIO_TO_BARE}
    if alike:
        targets[NONE_IDLE] = LEAST_RATIO_OF_MANY
    return Case(
        f"{name}.beside{IDLE}",
        names.MICROSECONDS,
        make(SUBJECT, True, IDLE, "median"),
        [make(NONE_IDLE, True, 0, "median"), make(BARE, False, IDLE, "median")],
        targets,
        count=TIMES,
    )


def cpp_maker(folder: Path, loop: str) -> Maker:
    programs = Programs(folder)
    return lambda name, by_queue, idle, what: programs.contestant(
        name, f"wakeups_{loop}", "queue" if by_queue else "eventfd", str(idle), what
    )


def python_maker(loop: str) -> Maker:
    return lambda name, by_queue, idle, what: contestant(
        name, "wakeups.py", SUBJECT if by_queue else "eventfd", loop, str(idle), what
    )


def wakeup_cases(cpp_folder: Path) -> Iterator[Case]:
    for loop, alike in CPP_LOOPS.items():
        name, make = f"wakeup.cpp.{loop}", cpp_maker(cpp_folder, loop)
        yield from cases_of_one(name, make)
        yield case_of_many(name, make, alike)
        if loop in SHARED_BY:
            yield case_of_shared(name, make)
    for loop, alike in PYTHON_LOOPS.items():
        name, make = f"wakeup.python.{loop.replace(':', '.')}", python_maker(loop)
        yield from cases_of_one(name, make)
        yield case_of_many(name, make, alike)
        if loop in SHARED_BY:
            yield case_of_shared(name, make)
    for loop in AROUND_EPOLL:
        yield case_of_many(f"wakeup.python.{loop}", python_maker(loop), alike=True)
    for loop in DRAINED_BY:
        subject, *peers = contestants("draining.py", loop, peers=(STANDARD,))
        yield Case(f"wakeup.python.{loop}.drained", ITEMS, subject, peers, limit=LEAST_DRAINED)

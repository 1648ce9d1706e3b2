"""The cases of waiting for many things, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import names
from cpp_cases import Programs
from measuring import Case
from names import SUBJECT
from python_cases import STANDARD, contestant, contestants

IDLE = 1_000
NONE_IDLE = "shoal, none idle"
# A wake-up that grew with the number of those that are idle would take many times as long.
LEAST_RATIO_OF_MANY = 0.7

# Each takes milliseconds, most of which is spent on letting the other fall asleep.
TIMES = 200


def cpp_cases(folder: Path) -> Iterator[Case]:
    programs = Programs(folder)
    for way, targets in (("wait_set", {NONE_IDLE: LEAST_RATIO_OF_MANY}), ("wait_any", {})):
        yield Case(
            f"waiting.cpp.{way}.beside{IDLE}",
            names.MICROSECONDS,
            programs.contestant(SUBJECT, "waiting", way, str(IDLE)),
            [programs.contestant(NONE_IDLE, "waiting", way, "0")],
            targets,
            count=1_000,
        )


def python_cases() -> Iterator[Case]:
    program = "waiting_for_many.py"
    for what, target in (("wait", None), ("selector", LEAST_RATIO_OF_MANY)):
        subject, *peers = contestants(program, what, str(IDLE), peers=(STANDARD,))
        peers.append(contestant(NONE_IDLE, program, SUBJECT, what, "0"))
        targets = {} if target is None else {NONE_IDLE: target}
        yield Case(f"waiting.python.{what}.beside{IDLE}", names.MICROSECONDS, subject, peers, targets, count=TIMES)
    for idle, target in ((0, 3.0), (IDLE, 4.0)):
        subject, *peers = contestants(program, "ready", str(idle), peers=(STANDARD,))
        yield Case(f"waiting.python.ready.beside{idle}", names.MICROSECONDS, subject, peers, {STANDARD: target})


def waiting_cases(cpp_folder: Path) -> Iterator[Case]:
    yield from python_cases()
    yield from cpp_cases(cpp_folder)

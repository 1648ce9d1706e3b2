"""What the programs of pool_hazards.py share: the list of them, and how they and their workers know of each other.

They run in a folder of their own, whose files tell how far which process is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# With one version all of them; a start of an interpreter takes longer than most of the programs.
METHODS = ["fork", "spawn", "forkserver"] if sys.version_info >= (3, 13) else ["fork"]


class Hazard(NamedTuple):
    program: Callable[[Any], str]
    expected: str  # what it prints with Shoal


HAZARDS: dict[str, Hazard] = {}


def hazard(expected: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    def register(program: Callable[[Any], str]) -> Callable[[Any], str]:
        HAZARDS[program.__name__] = Hazard(program, expected)
        return program

    return register


def mark(name: str, *_: object) -> None:
    Path(f"{name}-{os.getpid()}").touch()


def marks(name: str) -> int:
    return len(list(Path().glob(f"{name}-*")))


def wait_until(condition: Callable[[], object]) -> None:
    """Without a bound: a hang is for the caller of the program to find."""
    while not condition():
        time.sleep(0.005)


def outcome(call: Callable[..., Any], *args: Any) -> str:
    """What a call returns, or the name of what it raises."""
    try:
        return str(call(*args))
    except BaseException as error:
        return type(error).__name__


def outcomes(results: Iterator[Any]) -> list[str]:
    """As `outcome`, of each item, until the iterator ends."""
    found = []
    while (last := outcome(next, results)) != "StopIteration":
        found.append(last)
    return found


def square(number: int) -> int:
    return number * number


def sleep_long(*_: object) -> None:
    mark("asleep")
    time.sleep(600)


def kill_self(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def large(megabytes: int) -> bytes:
    return bytes(megabytes << 20)

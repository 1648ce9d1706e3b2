"""Call what nobody else is using meanwhile, COUNT times: print how many seconds that took.

usage: sync_calls.py LIBRARY WHAT COUNT

lock        acquire and release, together one call
with        the same by a `with` statement
event       is_set of a set event
value       add one to a Value under its lock
add         the same in the shortest way that the library has: Value.add, or the former
get:CODE    read a slice of a megabyte of an Array of that type code
set:CODE    assign to such a slice what was read from it
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from libraries import fork_context

MEBIBYTE = 1024 * 1024


def locking(context: Any, count: int) -> None:
    lock = context.Lock()
    for _ in repeat(None, count):
        lock.acquire()
        lock.release()


def entering(context: Any, count: int) -> None:
    lock = context.Lock()
    for _ in repeat(None, count):
        with lock:
            pass


def asking(context: Any, count: int) -> None:
    event = context.Event()
    event.set()
    for _ in repeat(None, count):
        event.is_set()


def incrementing(context: Any, count: int) -> None:
    value = context.Value("q", 0)
    lock = value.get_lock()
    for _ in repeat(None, count):
        with lock:
            value.value += 1


def adding(context: Any, count: int) -> None:
    value = context.Value("q", 0)
    if not hasattr(value, "add"):
        incrementing(context, count)
        return
    for _ in repeat(None, count):
        value.add(1)


def slicing(context: Any, count: int, code: str, assign: bool) -> None:
    raw = context.RawArray(code, 1)
    length = MEBIBYTE // memoryview(raw).itemsize
    array = context.Array(code, length)
    content = array[0:length]
    for _ in repeat(None, count):
        if assign:
            array[0:length] = content
        else:
            content = array[0:length]


CALLS: dict[str, Callable[[Any, int], None]] = {
    "lock": locking,
    "with": entering,
    "event": asking,
    "value": incrementing,
    "add": adding,
}


def main() -> None:
    library, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = fork_context(library)
    kind, _, code = what.partition(":")
    begin = time.perf_counter()
    if code:
        slicing(context, count, code, kind == "set")
    else:
        CALLS[what](context, count)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()

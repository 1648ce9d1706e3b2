"""Wait for many things of which most are idle, COUNT times: print how many seconds as many median times take.

usage: waiting_for_many.py LIBRARY WHAT IDLE COUNT

wait       connection.wait: from when another process sends something until it returned, after having slept
selector   the same with an EpollSelector that knows all of them from the beginning
ready      one call of connection.wait, of which one is ready already

The one that is not idle is a connection; of the idle ones half are queues and half processes.
"""

from __future__ import annotations

import os
import selectors
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from libraries import fork_context, module

LONG_ENOUGH_TO_FALL_ASLEEP = 2e-3


def idle_things(library: str, count: int) -> tuple[list[Any], list[Any]]:
    """What to wait for, and what has to be kept for that."""
    context = fork_context(library)
    queues = [context.SimpleQueue() for _ in range(count // 2)]
    processes = [os.pidfd_open(os.getpid()) for _ in range(count - len(queues))]
    return [*(queues if library == "shoal" else [queue._reader for queue in queues]), *processes], queues


def selector_of(all_things: list[Any]) -> Callable[[], Any]:
    selector = selectors.EpollSelector()
    for thing in all_things:
        selector.register(thing, selectors.EVENT_READ)
    return selector.select


def time_wake_ups(library: str, reader: Any, writer: Any, wait: Callable[[], Any], count: int) -> list[float]:
    context = fork_context(library)
    asked, ask = context.Pipe(duplex=False)

    def wake() -> None:
        for _ in range(count):
            asked.recv_bytes()
            end = time.perf_counter() + LONG_ENOUGH_TO_FALL_ASLEEP
            while time.perf_counter() < end:
                pass
            writer.send(time.perf_counter())

    child = context.Process(target=wake)
    child.start()
    taken = []
    for _ in range(count):
        ask.send_bytes(b"")
        ready = wait()
        now = time.perf_counter()
        assert len(ready) == 1
        taken.append(now - reader.recv())
    child.join()
    return taken


def time_calls(writer: Any, wait: Callable[[], Any], count: int) -> list[float]:
    writer.send(None)
    taken = []
    for _ in range(count):
        before = time.perf_counter()
        wait()
        taken.append(time.perf_counter() - before)
    return taken


def main() -> None:
    library, what, idle, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    reader, writer = fork_context(library).Pipe(duplex=False)
    things, _kept = idle_things(library, idle)
    all_things = [*things, reader]
    connection = module(library + ".connection")
    wait = selector_of(all_things) if what == "selector" else lambda: connection.wait(all_things)
    ready = what == "ready"
    taken = time_calls(writer, wait, count) if ready else time_wake_ups(library, reader, writer, wait, count)
    print(statistics.median(taken) * count)


if __name__ == "__main__":
    main()

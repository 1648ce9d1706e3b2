"""Items that one process puts and an event loop's handler takes, at most a hundred a call: print the seconds for COUNT.

usage: draining.py LIBRARY LOOP COUNT         (LOOP: of loops.py)

The clock starts when the handler is first called, and stops when it has the last item.
"""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from typing import Any

from libraries import fork_context
from loops import make_loop

BUDGET = 100
# What a program would choose for a display, so that its worker does not run ahead of it by minutes.
BOUND = 10_000


def put_all(q: Any, count: int) -> None:
    for number in range(count):
        q.put(number)


def taker(library: str, q: Any) -> tuple[int, Callable[[], list[int]]]:
    """The descriptor, and what takes at most BUDGET items without waiting."""
    if library == "shoal":
        return q.fileno(), lambda: q.get_many(BUDGET, timeout=0)

    def take() -> list[int]:
        taken = []
        try:
            while len(taken) < BUDGET:
                taken.append(q.get_nowait())
        except queue.Empty:
            pass
        return taken

    return q._reader.fileno(), take


def main() -> None:
    library, loop_name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = fork_context(library)
    q = context.Queue(BOUND)
    loop = make_loop(loop_name)
    descriptor, take = taker(library, q)
    received = 0
    began = 0.0

    def handler() -> None:
        nonlocal received, began
        began = began or time.perf_counter()
        for number in take():
            assert number == received
            received += 1
        if received == count:
            loop.stop()

    loop.watch(descriptor, handler)
    producer = context.Process(target=put_all, args=(q, count))
    producer.start()
    loop.run()
    print(time.perf_counter() - began)
    producer.join()


if __name__ == "__main__":
    main()

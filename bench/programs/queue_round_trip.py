"""Send an int there and back COUNT times, through two queues: print how many seconds as many median trips take.

usage: queue_round_trip.py LIBRARY COUNT

Not the sum: a trip during which a process lost its processor lasts as long as a thousand others.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from libraries import fork_context, module


def make_queue(library: str) -> Any:
    return module(library).Queue() if library == "faster-fifo" else fork_context(library).Queue()


def main() -> None:
    library, count = sys.argv[1], int(sys.argv[2])
    there, back = make_queue(library), make_queue(library)

    def answer() -> None:
        get, put = there.get, back.put
        for _ in range(count + 1):
            put(get())

    child = fork_context("multiprocessing" if library == "faster-fifo" else library).Process(target=answer)
    child.start()
    put, get = there.put, back.get
    put(-1)
    get()  # now the other is up
    trips = []
    before = time.perf_counter()
    for number in range(count):
        put(number)
        answered = get()
        now = time.perf_counter()
        trips.append(now - before)
        before = now
    child.join()
    if answered != count - 1:
        sys.exit(f"{library}: the last answer was {answered}, expected {count - 1}")
    print(statistics.median(trips) * count)


if __name__ == "__main__":
    main()

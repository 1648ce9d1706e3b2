"""One process puts COUNT items into a queue, another gets them: print how many seconds that took.

usage: queue_items.py LIBRARY KIND BOUND COUNT

BOUND is the most items that the queue may hold, 0 for no bound. The clock runs from when both processes are ready until
the last item was taken. Items are made beforehand, 1000 different ones, and put again and again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from libraries import fork_context, module


@dataclass
class Point:
    """What no encoder knows, so that it has to be pickled."""

    x: int
    y: int


KINDS: dict[str, Callable[[int], Any]] = {
    "int": lambda i: i * 1000,
    "str": lambda i: f"item {i}",
    "tuple": lambda i: (i, f"item {i}", i / 2),
    "dict": lambda i: {"number": i, "name": f"item {i}", "half": i / 2},
    "pickle": lambda i: Point(i, -i),
    "pickle_set": lambda i: {i, i + 1, i + 2},
    "bytes1KB": lambda i: (b"%4d" % i) * 256,
    "bytes1MB": lambda i: (b"%4d" % (i % 10)) * (256 * 1024),
}


def make_queue(library: str, kind: str, bound: int) -> Any:
    if library != "faster-fifo":
        return fork_context(library).Queue(bound)
    # Bounded by bytes alone. Its default, 1 MB, would hold no item of the largest kind.
    megabyte = 1024 * 1024
    return module(library).Queue(max_size_bytes=bound * megabyte if kind == "bytes1MB" else 10 * megabyte)


def main() -> None:
    library, kind, bound, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    # As many of the large ones would not fit into caches that a producer's real data may well be in.
    items = [KINDS[kind](i) for i in range(10 if kind == "bytes1MB" else 1000)]
    queue = make_queue(library, kind, bound)
    ready_to_read, ready = os.pipe()
    go_to_read, go = os.pipe()

    def produce() -> None:
        put = queue.put
        os.write(ready, b"r")
        os.read(go_to_read, 1)
        for item in islice(cycle(items), count):
            put(item)

    producer = fork_context("multiprocessing" if library == "faster-fifo" else library).Process(target=produce)
    producer.start()
    get = queue.get
    os.read(ready_to_read, 1)
    begin = time.perf_counter()
    os.write(go, b"g")
    for _ in range(count - 1):
        get()
    last = get()
    seconds = time.perf_counter() - begin

    producer.join()
    if last != items[(count - 1) % len(items)]:
        sys.exit(f"{library}: the last item was {last!r:.100}, expected {items[(count - 1) % len(items)]!r:.100}")
    print(seconds)


if __name__ == "__main__":
    main()

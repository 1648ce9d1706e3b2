"""Processes put COUNT items into a queue, others get them: print how many seconds that took.

usage: queue_items.py LIBRARY KIND BOUND EACH one|many COUNT

BOUND is the most items that the queue may hold, 0 for no bound. There are EACH producers and EACH consumers, which have
equal shares; this process is the first consumer. `many`: with put_many of 100 items and get_many of at most 1000. The
clock runs from when all processes are ready until the last item was taken. What is put are a few items that were made
beforehand, again and again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

from items import LARGE, MEGABYTE, make_items, same
from libraries import fork_context, module

PUT_AT_ONCE = 100
GET_AT_ONCE = 1000


def make_queue(library: str, kind: str, bound: int) -> Any:
    if library != "faster-fifo":
        return fork_context(library).Queue(bound)
    # Bounded by bytes alone. Its default, 1 MB, would not hold the larger items.
    return module(library).Queue(max_size_bytes=bound * LARGE[kind] if kind in LARGE else 10 * MEGABYTE)


def share(count: int, index: int, of: int) -> int:
    return count // of + (index < count % of)


def put_one_by_one(queue: Any, items: Sequence[Any], count: int) -> None:
    put = queue.put
    for item in islice(cycle(items), count):
        put(item)


def get_one_by_one(queue: Any, count: int) -> Any:
    get = queue.get
    for _ in range(count - 1):
        get()
    return get()


def put_batches(queue: Any, items: Sequence[Any], count: int) -> None:
    put_many = queue.put_many
    endless = cycle(items)
    for begin in range(0, count, PUT_AT_ONCE):
        put_many(list(islice(endless, min(PUT_AT_ONCE, count - begin))))


def get_batches(library: str, queue: Any, count: int) -> Any:
    # Named differently by the two, and never more than are to come.
    limit = "max_messages_to_get" if library == "faster-fifo" else "max_items"
    get_many = queue.get_many
    batch: Sequence[Any] = []
    while count > 0:
        batch = get_many(**{limit: min(GET_AT_ONCE, count)})
        count -= len(batch)
    return batch[-1]


def main() -> None:
    library, kind, bound, each, manner = sys.argv[1:6]
    processes, count = int(each), int(sys.argv[6])
    items = make_items(kind)
    queue = make_queue(library, kind, int(bound))
    # The same for all, so that what is measured beside the queue is the same too.
    plain = fork_context("multiprocessing")
    begin = plain.Barrier(2 * processes)

    def produce(index: int) -> None:
        begin.wait()
        own_share = share(count, index, processes)
        if manner == "many":
            put_batches(queue, items, own_share)
        else:
            put_one_by_one(queue, items, own_share)

    def consume(index: int) -> Any:
        own_share = share(count, index, processes)
        return get_batches(library, queue, own_share) if manner == "many" else get_one_by_one(queue, own_share)

    def consume_in_child(index: int) -> None:
        begin.wait()
        consume(index)
        end.put(None)

    end = plain.SimpleQueue()
    start: Callable[..., Any] = fork_context("multiprocessing" if library == "faster-fifo" else library).Process
    children = [start(target=produce, args=(index,)) for index in range(processes)]
    children += [start(target=consume_in_child, args=(index,)) for index in range(1, processes)]
    for child in children:
        child.start()
    begin.wait()
    began = time.perf_counter()
    last = consume(0)
    for _ in range(1, processes):
        end.get()
    seconds = time.perf_counter() - began

    for child in children:
        child.join()
        if child.exitcode != 0:
            sys.exit(f"{library}: a process ended with {child.exitcode}")
    # With one consumer it is known which item comes last.
    expected = [items[(count - 1) % len(items)]] if processes == 1 else items
    if not any(same(kind, last, item) for item in expected):
        sys.exit(f"{library}: the last item was {last!r:.100}, expected {expected[0]!r:.100}")
    print(seconds)


if __name__ == "__main__":
    main()

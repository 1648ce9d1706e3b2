"""Do COUNT times what no queue that copies, or pickles, can save: print how many seconds that took.

usage: limits.py pickle|memcpy KIND PLACES COUNT

pickle: dumps, protocol 5, and loads of an item, one after the other in one process. memcpy: one copy of a large item
into memory that was used before: so many places, as many as the queue has.
"""

from __future__ import annotations

import pickle
import sys
import time
from itertools import cycle, islice

from items import LARGE, make_items


def with_pickle(kind: str, count: int) -> float:
    items = make_items(kind)
    dumps, loads = pickle.dumps, pickle.loads
    begin = time.perf_counter()
    for item in islice(cycle(items), count):
        loads(dumps(item, 5))
    return time.perf_counter() - begin


def with_memcpy(kind: str, place_count: int, count: int) -> float:
    sources = [memoryview(item).cast("B") for item in make_items(kind)]
    places = [memoryview(bytearray(LARGE[kind])) for _ in range(place_count)]
    begin = time.perf_counter()
    for place, source in islice(zip(cycle(places), cycle(sources)), count):
        place[:] = source
    return time.perf_counter() - begin


def main() -> None:
    what, kind, places, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    print(with_pickle(kind, count) if what == "pickle" else with_memcpy(kind, places, count))


if __name__ == "__main__":
    main()

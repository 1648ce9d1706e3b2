"""Put LENGTH ints into a queue and then get them all, until it were COUNT: print how many seconds that took.

usage: queue_unread.py LIBRARY LENGTH COUNT
"""

from __future__ import annotations

import sys
import time

from libraries import fork_context


def main() -> None:
    library, length, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    queue = fork_context(library).Queue()
    put, get = queue.put, queue.get
    begin = time.perf_counter()
    for _ in range(0, count, length):
        for number in range(length):
            put(number)
        for _ in range(length):
            last = get()
    seconds = time.perf_counter() - begin
    if last != length - 1:
        sys.exit(f"{library}: the last number was {last}, expected {length - 1}")
    print(seconds)


if __name__ == "__main__":
    main()

"""Map a function that does next to nothing over COUNT numbers, with a pool of two: print how many seconds that took.

usage: pool_map.py LIBRARY CHUNKSIZE COUNT       (CHUNKSIZE may be `default`)
"""

from __future__ import annotations

import sys
import time

from libraries import fork_context


def negative(number: int) -> int:
    return -number


def main() -> None:
    library, count = sys.argv[1], int(sys.argv[3])
    chunk_size = None if sys.argv[2] == "default" else int(sys.argv[2])
    with fork_context(library).Pool(2) as pool:
        pool.map(negative, range(100), 1)  # now the workers are up
        begin = time.perf_counter()
        results = pool.map(negative, range(count), chunk_size)
        seconds = time.perf_counter() - begin
    if results != [-number for number in range(count)]:
        sys.exit(f"{library}: wrong results")
    print(seconds)


if __name__ == "__main__":
    main()

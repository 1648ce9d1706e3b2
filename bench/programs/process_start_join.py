"""Start a process that does nothing and join it, COUNT times: print how many seconds that took.

usage: process_start_join.py LIBRARY fork COUNT
"""

from __future__ import annotations

import sys
import time

from libraries import module


def nothing() -> None:
    pass


def main() -> None:
    library, method, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = module(library).get_context(method)
    begin = time.perf_counter()
    for _ in range(count):
        process = context.Process(target=nothing)
        process.start()
        process.join()
    seconds = time.perf_counter() - begin
    if process.exitcode != 0:
        sys.exit(f"{library}: the last process ended with {process.exitcode}")
    print(seconds)


if __name__ == "__main__":
    main()

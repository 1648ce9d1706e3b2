"""Start a process that does nothing and join it, COUNT times: print how many seconds that took.

usage: process_start_join.py LIBRARY METHOD COUNT

The first one is not counted: with forkserver it starts the server. Children of spawn import this file, so it imports
nothing that they do not need.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def nothing() -> None:
    pass


def main() -> None:
    from libraries import module

    library, method, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = module(library).get_context(method)
    start_and_join(library, context)
    begin = time.perf_counter()
    for _ in range(count):
        start_and_join(library, context)
    print(time.perf_counter() - begin)


def start_and_join(library: str, context: Any) -> None:
    process = context.Process(target=nothing)
    process.start()
    process.join()
    if process.exitcode != 0:
        sys.exit(f"{library}: a process ended with {process.exitcode}")


if __name__ == "__main__":
    main()

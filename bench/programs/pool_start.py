"""Make a pool of two and wait for the result of its first task, COUNT times: print how many seconds that took.

usage: pool_start.py LIBRARY METHOD COUNT

The first pool is not counted: with forkserver it starts the server. Ending a pool is not counted either. Children of
spawn import this file, so it imports nothing that they do not need.
"""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make_pool(library: str, method: str) -> Any:
    if library == "concurrent.futures":
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(2, multiprocessing.get_context(method))
    from libraries import module

    return module(library).get_context(method).Pool(2)


def first_result(pool: Any) -> int:
    if hasattr(pool, "submit"):
        return pool.submit(abs, -1).result()  # type: ignore[no-any-return]
    return pool.apply(abs, (-1,))  # type: ignore[no-any-return]


def main() -> None:
    library, method, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seconds = 0.0
    for number in range(count + 1):
        begin = time.perf_counter()
        with make_pool(library, method) as pool:
            if first_result(pool) != 1:
                sys.exit(f"{library}: wrong result")
            seconds += time.perf_counter() - begin if number > 0 else 0.0
    print(seconds)


if __name__ == "__main__":
    main()

"""Run COUNT tasks that do next to nothing in a pool of two: print how many seconds that took.

usage: pool_tasks.py LIBRARY SHAPE COUNT

SHAPE is how they are given to the pool: map (chunks of one), default (map, with the library's own chunks), unordered
(imap_unordered, chunks of one), submit (apply_async, then all results), apply (each when the one before is done), or
array (as unordered, a NumPy array of 1 MB to the worker and another one back).
"""

from __future__ import annotations

import sys
import time
from typing import Any

from pools import pool_of

WARM_UP = 100
MEGABYTE = 1 << 20


def negative(number: int) -> int:
    return -number


def negative_array(array: Any) -> Any:
    global scratch
    import numpy

    if scratch is None:
        scratch = numpy.empty_like(array)
    return numpy.negative(array, out=scratch)


scratch: Any = None  # made once in each worker: the kernel's work for new memory is no pool's


def run(pool: Any, shape: str, count: int) -> bool:
    """Do the tasks; return whether the results are right."""
    if shape == "array":
        return run_arrays(pool, count)
    wanted = [-number for number in range(count)]
    if shape == "unordered":
        return sorted(pool.unordered(negative, range(count)), reverse=True) == wanted
    if shape == "submit":
        waits = [pool.submit(negative, number) for number in range(count)]
        return [wait() for wait in waits] == wanted
    if shape == "apply":
        return [pool.apply(negative, number) for number in range(count)] == wanted
    return pool.map(negative, range(count), 1 if shape == "map" else None) == wanted  # type: ignore[no-any-return]


def run_arrays(pool: Any, count: int) -> bool:
    import numpy

    array = numpy.arange(MEGABYTE // 8, dtype=numpy.float64)
    right = 0
    for result in pool.unordered(negative_array, (array for _ in range(count))):
        right += result[-1] == -array[-1] and result.nbytes == MEGABYTE
    return right == count


def main() -> None:
    library, shape, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with pool_of(library) as pool:
        run(pool, shape, WARM_UP)  # now the workers are up
        begin = time.perf_counter()
        right = run(pool, shape, count)
        seconds = time.perf_counter() - begin
    if not right:
        sys.exit(f"{library}: wrong results")
    print(seconds)


if __name__ == "__main__":
    main()

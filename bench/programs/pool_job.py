"""Parse COUNT files of the standard library and count the calls in each: print how many seconds that took.

usage: pool_job.py LIBRARY COUNT

The workers of a pool of two do it, by its `map` with chunks of one; or, LIBRARY being `serial`, this process alone.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
import time
import warnings
from pathlib import Path

from pools import pool_of

SKIPPED = ("site-packages", "test", "tests", "lib2to3")


def files(count: int) -> list[str]:
    """So many files of ordinary size, always the same, from all over the library."""
    library = Path(sysconfig.get_path("stdlib"))
    found = sorted(path for path in library.rglob("*.py") if not set(path.parts) & set(SKIPPED))
    usable = [str(path) for path in found if 2_000 < path.stat().st_size < 60_000]
    return (usable * (count // len(usable) + 1))[:count]


def count_calls(path: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(Path(path).read_bytes())
    return sum(isinstance(node, ast.Call) for node in ast.walk(tree))


def main() -> None:
    library, count = sys.argv[1], int(sys.argv[2])
    names = files(count)
    if library == "serial":
        begin = time.perf_counter()
        calls = list(map(count_calls, names))
        seconds = time.perf_counter() - begin
    else:
        with pool_of(library) as pool:
            pool.map(abs, range(100), 1)  # now the workers are up
            begin = time.perf_counter()
            calls = pool.map(count_calls, names, 1)
            seconds = time.perf_counter() - begin
    if len(calls) != count or min(calls) < 0:
        sys.exit(f"{library}: wrong results")
    print(seconds)


if __name__ == "__main__":
    main()

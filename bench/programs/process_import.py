"""Import a library in a fresh interpreter, COUNT times: print how many seconds that took, interpreters included.

usage: process_import.py LIBRARY COUNT

Of multiprocessing its queues and pools are imported too, which shoal has.
"""

from __future__ import annotations

import os
import sys
import time

from libraries import module

STATEMENTS = {
    "multiprocessing": "import multiprocessing, multiprocessing.queues, multiprocessing.pool",
    "shoal": "import shoal",
}


def main() -> None:
    library, count = sys.argv[1], int(sys.argv[2])
    module(library)
    command = [sys.executable, "-c", STATEMENTS[library]]
    begin = time.perf_counter()
    for _ in range(count):
        os.waitpid(os.posix_spawn(sys.executable, command, os.environ), 0)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()

"""Call what nobody else is using meanwhile, COUNT times: print how many seconds that took.

usage: sync_calls.py LIBRARY lock|event COUNT

lock: acquire and release, together one call. event: is_set of a set event.
"""

from __future__ import annotations

import sys
import time
from itertools import repeat

from libraries import fork_context


def main() -> None:
    library, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = fork_context(library)
    if what == "lock":
        lock = context.Lock()
        begin = time.perf_counter()
        for _ in repeat(None, count):
            lock.acquire()
            lock.release()
    else:
        event = context.Event()
        event.set()
        begin = time.perf_counter()
        for _ in repeat(None, count):
            event.is_set()
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()

"""What starting and joining a process takes without any library, COUNT times: print how many seconds that took.

usage: process_bare.py fork|spawn COUNT

spawn: an interpreter that runs nothing.
"""

from __future__ import annotations

import os
import sys
import time


def fork() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def spawn() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ)
    os.waitpid(pid, 0)


def main() -> None:
    start_and_join = {"fork": fork, "spawn": spawn}[sys.argv[1]]
    begin = time.perf_counter()
    for _ in range(int(sys.argv[2])):
        start_and_join()
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main()

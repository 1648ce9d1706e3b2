"""Let two processes wait for each other COUNT times: print how many seconds that took.

usage: sync_hand_over.py LIBRARY condition|barrier COUNT

condition: a turn goes there and back, told through a Condition. barrier: both meet at a Barrier.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from libraries import fork_context


def pass_turns(condition: Any, turn: Any, mine: int, count: int) -> None:
    for _ in range(count):
        with condition:
            while turn.value != mine:
                condition.wait()
            turn.value = 1 - mine
            condition.notify()


def meet(barrier: Any, count: int) -> None:
    for _ in range(count):
        barrier.wait()


def main() -> None:
    library, what, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = fork_context(library)
    if what == "condition":
        condition, turn = context.Condition(), context.RawValue("i", 0)
        ours, theirs = (condition, turn, 0, count), (condition, turn, 1, count)
        take_part: Any = pass_turns
    else:
        ours = theirs = (context.Barrier(2), count)
        take_part = meet
    started = context.Event()

    def other() -> None:
        started.set()
        take_part(*theirs)

    child = context.Process(target=other)
    child.start()
    started.wait()
    begin = time.perf_counter()
    take_part(*ours)
    print(time.perf_counter() - begin)
    child.join()


if __name__ == "__main__":
    main()

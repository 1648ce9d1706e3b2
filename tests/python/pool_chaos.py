"""Kill random workers of a pool that is working, and count what becomes of its tasks.

    pool_chaos.py [--method fork|spawn|forkserver] [--tasks N] [--every SECONDS] [--workers N]

Every task is to be returned exactly once, or reported as died exactly once; with retries all are to be returned. Prints
the counts; the status is 1 if one of them is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import shoal

# More than any task is ever killed, at a kill every few milliseconds.
ENOUGH_RETRIES = 100


class Kills:
    """Which workers may be killed, and how many were."""

    def __init__(self) -> None:
        self.count = 0
        # Those that have done something. By spawn a worker takes longer to start than from one kill to the next, so
        # there would be no other ones.
        self.working: set[int] = set()


@contextlib.contextmanager
def killing(pool: Any, every: float) -> Iterator[Kills]:
    """Kill a random worker of the pool again and again, as long as the block lasts."""
    kills = Kills()
    over = threading.Event()

    def kill() -> None:
        while not over.wait(every):
            with contextlib.suppress(ValueError):  # has ended meanwhile, and is closed
                workers = [worker for worker in pool._pool if worker.pid in kills.working]
                if workers:
                    victim = random.choice(workers)
                    kills.working.discard(victim.pid)
                    victim.kill()
                    kills.count += 1

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        yield kills
    finally:
        over.set()
        killer.join()


def tell(number: int) -> tuple[int, int]:
    sum(range(2000))  # so that kills find workers in tasks, and not only between them
    return number, os.getpid()


def from_iterator(pool: Any, kills: Kills, tasks: int, **options: Any) -> tuple[Counter[int], Counter[int]]:
    """Do the tasks with imap_unordered; count for each how often it was returned, and how often it died."""
    returned: Counter[int] = Counter()
    died: Counter[int] = Counter()
    results = pool.imap_unordered(tell, range(tasks), 1, **options)
    while True:
        try:
            number, pid = next(results)
            returned[number] += 1
            kills.working.add(pid)
        except StopIteration:  # noqa: PERF203
            return returned, died
        except shoal.WorkerDied as death:
            if death.task is None:
                raise
            died[death.task] += 1


def from_callbacks(pool: Any, kills: Kills, tasks: int, **options: Any) -> tuple[Counter[int], Counter[int]]:
    """The same with apply_async; what is counted is what the callbacks are told."""
    returned: Counter[int] = Counter()
    died: Counter[int] = Counter()

    def count_return(result: tuple[int, int]) -> None:
        returned[result[0]] += 1
        kills.working.add(result[1])

    def submit(number: int) -> Any:
        def count_death(error: BaseException) -> None:
            assert isinstance(error, shoal.WorkerDied), error
            died[number] += 1

        return pool.apply_async(tell, (number,), {}, count_return, count_death, **options)

    results = [submit(number) for number in range(tasks)]
    for result in results:
        result.wait()
    return returned, died


WAYS: dict[str, tuple[Callable[..., tuple[Counter[int], Counter[int]]], dict[str, Any]]] = {
    "imap_unordered": (from_iterator, {}),
    "apply_async": (from_callbacks, {}),
    "imap_unordered, retried": (from_iterator, {"retries": ENOUGH_RETRIES}),
    "apply_async, retried": (from_callbacks, {"retries": ENOUGH_RETRIES}),
}


def run(method: str, way: str, tasks: int, every: float, workers: int = 2) -> str:
    """Do the tasks, print the counts, and return what is wrong with them: nothing, if they are as they should be."""
    began = time.monotonic()
    work, options = WAYS[way]
    with shoal.get_context(method).Pool(workers) as pool, killing(pool, every) as kills:
        returned, died = work(pool, kills, tasks, **options)
    print(
        f"{method}, {way}: {tasks} tasks, {kills.count} workers killed: {returned.total()} returned, "
        f"{died.total()} died, in {time.monotonic() - began:.1f} s",
        flush=True,
    )
    outcomes = returned + died
    if wrong := [f"{number}: {outcomes[number]}" for number in range(tasks) if outcomes[number] != 1]:
        return f"{len(wrong)} of the tasks have not one outcome each, such as {', '.join(wrong[:5])}"
    return f"{died.total()} died in spite of retries" if options and died else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", action="append", choices=["fork", "spawn", "forkserver"])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--every", type=float, default=0.005)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    methods = options.method or ["fork", "spawn", "forkserver"]
    wrong = [
        f"{method}, {way}: {what}"
        for method in methods
        for way in WAYS
        if (what := run(method, way, options.tasks, options.every, options.workers))
    ]
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()

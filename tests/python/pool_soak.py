"""Use pools in every way, over and over, and see whether anything grows.

    pool_soak.py [--duration SECONDS] [--seed N]

Kills, time limits, recycling, nested pools, large results, calls that are cancelled, pools that are terminated at work
or forgotten, with every start method; beside them one pool of each start method lives as long as the program. After
each round everything but those has ended, and is counted: processes, descriptors, memory. Prints a line for each
sample, and ends with a verdict; the status is 1 if something grew or went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pool_chaos
import shoal

METHODS = ("fork", "spawn", "forkserver")
RETRIES = 100
# How long what has ended may take to be gone: a loaded machine is slow to end processes.
PATIENCE = 20.0
# Memory is not returned to the last byte by any allocator; a leak of a kilobyte a task would be many times as much.
TOLERATED_MEGABYTES = 32.0
# Queues open some when they are first needed: for large items, for polling.
TOLERATED_DESCRIPTORS = 24
# Each queue of the pools that stay keeps up to 40 MB for the next backlog.
TOLERATED_SHARED_MEGABYTES = 100.0


# What is done in workers


def square(number: int) -> int:
    return number * number


def sleep_long(_: object = None) -> None:
    time.sleep(600)


def large(megabytes: int) -> bytes:
    return bytes(megabytes << 20)


def nested(number: int) -> int:
    with shoal.get_context("fork").Pool(2) as pool:
        return sum(pool.map(square, range(number), 1))


def crash(number: int) -> int:
    if number % 10 == 7:
        os._exit(3)
    return number


# What is done with pools. Each gets a new one, or the one that stays, and leaves it usable.


def plain(pool: Any) -> None:
    assert pool.map(square, range(300), 1) == [n * n for n in range(300)]
    assert sorted(pool.imap_unordered(square, range(300))) == [n * n for n in range(300)]
    assert [pool.apply(square, (n,)) for n in range(30)] == [n * n for n in range(30)]


def kills(pool: Any) -> None:
    with pool_chaos.killing(pool, 0.01) as killed:
        returned, died = pool_chaos.from_iterator(pool, killed, 2000, retries=RETRIES)
    assert (returned.total(), died.total()) == (2000, 0)


def time_limits(pool: Any) -> None:
    late = [pool.apply_async(sleep_long, timeout=0.02) for _ in range(3)]
    squares = pool.map(square, range(100), 1)
    assert squares == [n * n for n in range(100)]
    for result in late:
        expect(shoal.errors.TaskTimeoutError, result.get)


def cancelled_calls(pool: Any) -> None:
    results = [pool.apply_async(sleep_long) for _ in range(6)]
    time.sleep(0.01)
    assert all(result.cancel() for result in results)
    assert pool.apply(square, (5,)) == 25


def large_results(pool: Any) -> None:
    assert [len(block) for block in pool.imap_unordered(large, [4] * 8)] == [4 << 20] * 8
    assert len(pool.map(len, [bytes(4 << 20)] * 4, 1)) == 4


def recycling(pool: Any) -> None:
    with type(pool)(2, maxtasksperchild=1, context=pool._ctx) as other:
        assert other.map(square, range(6), 1) == [n * n for n in range(6)]


def crashes(pool: Any) -> None:
    outcomes = [pool.apply_async(crash, (n,)) for n in range(20)]
    for number, result in enumerate(outcomes):
        if number % 10 == 7:
            expect(shoal.WorkerDied, result.get)
        else:
            assert result.get() == number


def nested_pools(pool: Any) -> None:
    assert pool.map(nested, [5] * 4, 1) == [30] * 4


def errors(pool: Any) -> None:
    for _ in range(20):
        expect(ValueError, pool.apply, int, ("x",))
    expect(Exception, pool.apply, threading.Lock)  # cannot be pickled


def expect(error: type[BaseException], call: Callable[..., Any], *args: Any) -> None:
    try:
        found = call(*args)
    except error:
        return
    raise AssertionError(f"{error.__name__} expected, not {found!r}")


USES = (plain, kills, time_limits, cancelled_calls, large_results, recycling, crashes, nested_pools, errors)


# What becomes of pools


def close_and_join(pool: Any) -> None:
    pool.imap(square, range(100))  # nobody takes these results
    pool.close()
    pool.join()


def terminate_in_traffic(pool: Any) -> None:
    def traffic() -> None:
        with contextlib.suppress(Exception):
            while True:
                pool.map(square, range(100), 1)

    threads = [threading.Thread(target=traffic) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    pool.terminate()
    pool.join()
    for thread in threads:
        thread.join()


def forget(pool: Any) -> None:
    """Leave it to be collected, when the caller drops it too."""
    pool.map_async(square, range(100), 1)


ENDS = (close_and_join, terminate_in_traffic, forget)


# What may grow


class Sample(NamedTuple):
    """Of this program and all processes in its session: what it left behind would be among them.

    The workers of the pools that stay count as processes only: a fork has what was open when it was made.
    """

    processes: int
    descriptors: int
    shared: int  # mappings of shared memory in this program
    own_megabytes: float  # memory of this program alone
    shared_megabytes: float  # shared memory that it has touched
    server_megabytes: float  # memory of processes that are no workers

    @classmethod
    def take(cls, workers: Iterable[int]) -> Sample:
        pids = session_members()
        lasting = pids.difference(workers)
        return cls(
            len(pids),
            sum(descriptors(pid) for pid in lasting),
            shared_mappings(),
            megabytes(os.getpid(), "RssAnon"),
            megabytes(os.getpid(), "RssShmem"),
            sum(megabytes(pid, "RssAnon") for pid in lasting - {os.getpid()}),
        )

    def __str__(self) -> str:
        return (
            f"{self.processes} processes, {self.descriptors} descriptors, {self.shared} mappings, "
            f"own {self.own_megabytes:.1f} MB, shared {self.shared_megabytes:.1f} MB, "
            f"servers {self.server_megabytes:.1f} MB"
        )


def session_members() -> set[int]:
    session = os.getsid(0)
    found = set()
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            with contextlib.suppress(OSError):
                after_name = Path(f"/proc/{folder}/stat").read_text().rpartition(")")[2].split()
                if int(after_name[3]) == session and after_name[0] != "Z":
                    found.add(int(folder))
    return found


def descriptors(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def shared_mappings() -> int:
    return sum("memfd:" in line or "/dev/shm" in line for line in Path("/proc/self/maps").read_text().splitlines())


def megabytes(pid: int, kind: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def workers_of(pool: Any) -> Iterator[int]:
    for worker in pool._pool:
        with contextlib.suppress(ValueError):  # has ended meanwhile, and is closed
            yield worker.pid


class Soak:
    def __init__(self) -> None:
        self.staying = {method: self.make(method, maxtasksperchild=500) for method in METHODS}
        self.samples: list[Sample] = []

    @staticmethod
    def make(method: str, **options: Any) -> Any:
        return shoal.get_context(method).Pool(2, **options)

    def round(self) -> None:
        """Everything once, in some order, with some start method each."""
        for use in random.sample(USES, len(USES)):
            method = random.choice(METHODS)
            pool = self.make(method, maxtasksperchild=random.choice([None, 100]))
            use(pool)
            random.choice(ENDS)(pool)
            del pool
            use(self.staying[method])

    def settle(self) -> Sample:
        """A sample of when all is over: of when it is as it was the first time, or does not become so."""
        for pool in self.staying.values():
            pool.map(square, range(10), 1)
        gc.collect()
        began = time.monotonic()
        while True:
            sample = Sample.take(pid for pool in self.staying.values() for pid in workers_of(pool))
            if self.samples:
                first = self.samples[0]
                over = sample.processes <= first.processes
                over = over and sample.descriptors <= first.descriptors + TOLERATED_DESCRIPTORS
            else:
                over = time.monotonic() > began + 1.0
            if over or time.monotonic() > began + PATIENCE:
                return sample
            time.sleep(0.02)

    def run(self, duration: float, say: Callable[[str], None] = print) -> list[str]:
        """Go on for so many seconds; return what grew."""
        began = time.monotonic()
        rounds = 0
        said = 0.0
        while rounds < 3 or time.monotonic() - began < duration:
            self.round()
            rounds += 1
            if rounds == 1:
                continue  # the first brings up what is made once
            self.samples.append(self.settle())
            elapsed = time.monotonic() - began
            if elapsed - said >= duration / 40:
                said = elapsed
                say(f"{elapsed:6.0f} s, round {rounds}: {self.samples[-1]}")
        say(f"{rounds} rounds in {time.monotonic() - began:.0f} s")
        return grown(self.samples)

    def close(self) -> None:
        for pool in self.staying.values():
            pool.terminate()
            pool.join()


def grown(samples: list[Sample]) -> list[str]:
    """What the last quarter of the samples has more of than the first."""
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    found = []
    for name, slack in (
        ("processes", 0.0),
        ("descriptors", TOLERATED_DESCRIPTORS),
        ("shared", TOLERATED_DESCRIPTORS),
        ("own_megabytes", TOLERATED_MEGABYTES),
        ("shared_megabytes", TOLERATED_SHARED_MEGABYTES),
        ("server_megabytes", TOLERATED_MEGABYTES),
    ):
        before, after = (statistics.median(getattr(sample, name) for sample in part) for part in (first, last))
        if after > before + slack:
            found.append(f"{name}: {before} at first, {after} in the end")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", type=float, default=600.0, help="in seconds; default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    random.seed(options.seed)
    if os.getsid(0) != os.getpid():
        with contextlib.suppress(PermissionError):  # the leader of a process group, as a shell's command is
            os.setsid()
    print(f"seed {options.seed}", flush=True)
    soak = Soak()
    found = soak.run(options.duration, lambda line: print(line, flush=True))
    soak.close()
    print("soak: " + ("; ".join(found) if found else "no growth in processes, descriptors, shared or own memory"))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()

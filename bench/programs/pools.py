"""Pools of two worker processes, of each library by name, with the same few methods.

A library that has to be started by a launcher of its own starts the program again, under it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from libraries import fork_context, module, not_available

WORKERS = 2
EXECUTORS = ("concurrent.futures", "loky", "shoal.futures")


class StandardPool:
    """One with the methods of multiprocessing.Pool."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunk_size: int | None) -> list[Any]:
        return self._pool.map(function, items, chunk_size)  # type: ignore[no-any-return]

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """The results, in any order; chunks of one."""
        return self._pool.imap_unordered(function, items, 1)  # type: ignore[no-any-return]

    def submit(self, function: Callable[[Any], Any], item: Any) -> Callable[[], Any]:
        """What waits for the result."""
        return self._pool.apply_async(function, (item,)).get  # type: ignore[no-any-return]

    def apply(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._pool.apply(function, (item,))


class Executor:
    """One with the methods of concurrent.futures."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunk_size: int | None) -> list[Any]:
        return list(self._executor.map(function, items, chunksize=chunk_size or 1))

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        for future in as_completed([self._executor.submit(function, item) for item in items]):
            yield future.result()

    def submit(self, function: Callable[[Any], Any], item: Any) -> Callable[[], Any]:
        return self._executor.submit(function, item).result  # type: ignore[no-any-return]

    def apply(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._executor.submit(function, item).result()


class Mpire(StandardPool):
    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunk_size: int | None) -> list[Any]:
        return self._pool.map(function, items, chunk_size=chunk_size)  # type: ignore[no-any-return]

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        return self._pool.imap_unordered(function, items, chunk_size=1)  # type: ignore[no-any-return]


class Joblib:
    """It has no way to submit a single call and go on."""

    def __init__(self) -> None:
        self._joblib = module("joblib")

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunk_size: int | None) -> list[Any]:
        parallel = self._joblib.Parallel(n_jobs=WORKERS, batch_size=chunk_size or "auto")
        return parallel(self._joblib.delayed(function)(item) for item in items)  # type: ignore[no-any-return]

    def unordered(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        parallel = self._joblib.Parallel(n_jobs=WORKERS, batch_size=1, return_as="generator_unordered")
        return parallel(self._joblib.delayed(function)(item) for item in items)  # type: ignore[no-any-return]

    def apply(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self.map(function, [item], 1)[0]


@contextlib.contextmanager
def pool_of(library: str) -> Iterator[Any]:
    """A pool of that library, forked where the library leaves the choice."""
    if library == "joblib":
        yield Joblib()
    elif library == "concurrent.futures":
        with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork")) as executor:
            yield Executor(executor)
    elif library == "loky":
        yield Executor(module("loky").get_reusable_executor(max_workers=WORKERS))
    elif library == "mpire":
        with module("mpire").WorkerPool(WORKERS, start_method="fork", keep_alive=True) as pool:
            yield Mpire(pool)
    elif library == "ray":
        with ray_pool() as pool:
            yield StandardPool(pool)
    elif library == "dragonhpc":
        with dragon_context().Pool(WORKERS) as pool:
            yield StandardPool(pool)
    else:
        with fork_context(library).Pool(WORKERS) as pool:
            yield StandardPool(pool)


def ray_pool() -> Any:
    ray = module("ray")
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    from ray.util.multiprocessing import Pool

    return Pool(WORKERS)


def dragon_context() -> Any:
    if "DRAGON_MY_PUID" not in os.environ:
        run_under_dragon()
    import dragon  # noqa: F401  # it makes itself known to multiprocessing

    multiprocessing.set_start_method("dragon")
    return multiprocessing


def run_under_dragon() -> None:
    """Run this program by DragonHPC's launcher, print the number that it prints, and end."""
    launcher = Path(sys.executable).with_name("dragon")
    if not launcher.exists():
        not_available("dragonhpc")
    environment = {**os.environ, "PATH": f"{launcher.parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        [launcher, sys.executable, *sys.argv], env=environment, capture_output=True, text=True, check=False
    )
    for line in ended.stdout.splitlines():
        with contextlib.suppress(ValueError):
            print(float(line))
            sys.exit(0)
    sys.exit(f"no number from the program: {ended.stdout[-500:]} {ended.stderr[-500:]}")

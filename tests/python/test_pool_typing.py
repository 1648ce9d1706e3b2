"""What type checkers know of a pool's results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import shoal
from shoal.pool import ApplyResult, AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult

PROGRAM = """
from __future__ import annotations

import shoal
from shoal.pool import ApplyResult, IMapIterator, MapResult, Pool, Worker, WorkerInsight, current_worker
from typing_extensions import assert_type


class Word(str):
    pass


def measure(word: str) -> int:
    return len(word)


def repeat(word: str, times: int = 2, *, between: str = "") -> Word:
    return Word(between.join([word] * times))


def tell(number: int) -> None:
    print(number)


def tell_all(numbers: list[int]) -> None:
    print(numbers)


def use(pool: Pool, words: list[Word]) -> None:
    assert_type(pool.apply(measure, ("word",)), int)
    assert_type(pool.apply(repeat, ("word",), {"between": " "}), Word)
    assert_type(pool.apply_async(measure, ("word",), callback=tell), ApplyResult[int])
    assert_type(pool.apply_async(measure, ("word",)).get(3), int)
    assert_type(pool.map(measure, words), list[int])
    assert_type(pool.map(lambda word: word.upper(), words), list[str])
    assert_type(pool.map_async(measure, words, callback=tell_all), MapResult[int])
    assert_type(pool.map_async(measure, words).get(), list[int])
    assert_type(pool.starmap(repeat, [("word", 3)]), list[Word])
    assert_type(pool.starmap_async(repeat, [("word", 3)]).get(), list[Word])
    assert_type(pool.imap(measure, words), IMapIterator[int])
    assert_type(list(pool.imap_unordered(measure, words, chunksize=3)), list[int])
    assert_type(next(pool.imap(measure, words)), int)
    assert_type(pool.imap(measure, words).next(timeout=1), int)
    assert_type(pool.map(measure, words, progress=True), list[int])
    assert_type(pool.map(measure, words, timeout=1.5, retries=2, retry_on=(OSError, shoal.WorkerDied)), list[int])
    assert_type(current_worker(), "Worker | None")
    assert_type(pool.insights()[0], WorkerInsight)
    for record in pool.insights():
        assert_type(record.tasks, int)
        assert_type(record.busy, float)


with shoal.Pool(2, tell, (3,), max_memory=2**30, cpu_affinity=[0, {0, 1}], worker_exit=lambda: tell(3)) as made:
    assert_type(made, Pool)
"""

MISTAKES = """
import shoal

def measure(word: str) -> int:
    return len(word)

with shoal.Pool(2) as pool:
    pool.map(measure, [1, 2])
    text: str = pool.apply(measure, ("word",))
    pool.apply_async(measure, ("word",), callback=str.upper)
    shoal.Pool(2, max_memory="2G")
    shoal.Pool(2, worker_exit=measure)
    shoal.Pool(2, cpu_affinity=["first"])
"""


def check(path: Path) -> str:
    """What mypy says of the file."""
    environment = dict(os.environ)
    package = Path(shoal.__file__).parent
    if package.parent.name != "site-packages":
        environment["MYPYPATH"] = str(package.parent)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", os.devnull, str(path)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, cwd=path.parent, env=environment
    )
    assert ended.stderr == ""
    return ended.stdout


def test_results_have_the_type_that_the_function_returns(program: Callable[..., Path]) -> None:
    assert check(program(PROGRAM)) == ""


def test_what_does_not_fit_is_found(program: Callable[..., Path]) -> None:
    found = check(program(MISTAKES))
    beginning = MISTAKES.splitlines().index("    pool.map(measure, [1, 2])") + 1
    assert sorted({int(line.split(":")[1]) for line in found.splitlines()}) == list(range(beginning, beginning + 6))


def test_results_can_be_subscripted_at_run_time() -> None:
    for cls in (ApplyResult, AsyncResult, MapResult, IMapIterator, IMapUnorderedIterator):
        alias: Any = cls[int]
        assert alias.__origin__ is cls
        assert alias.__args__ == (int,)

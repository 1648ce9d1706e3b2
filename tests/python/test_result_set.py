"""Results of pools behind one descriptor: shoal.pool.ResultSet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import shoal
from shoal.futures import ProcessPoolExecutor
from shoal.pool import ResultSet

PATIENCE = 30.0


def after(seconds: float, value: int) -> int:
    time.sleep(seconds)
    if value < 0:
        raise ValueError(value)
    return value


@pytest.fixture
def pool() -> Iterator[shoal.Pool]:
    with shoal.Pool(2) as made:
        yield made


def is_readable(results: ResultSet[Any]) -> bool:
    return bool(select.select([results], [], [], 0)[0])


class Allowance:
    """What a task of the pool waits for."""

    go_on: Any = None

    @classmethod
    def receive(cls, go_on: Any) -> None:
        cls.go_on = go_on


def when_allowed() -> None:
    assert Allowance.go_on.wait(PATIENCE)


def test_results_come_out_as_they_end() -> None:
    go_on = shoal.Event()
    with shoal.Pool(2, Allowance.receive, (go_on,)) as pool:
        late = pool.apply_async(when_allowed)
        soon = pool.apply_async(abs, (-1,))
        results = ResultSet([late, soon])
        assert len(results) == 2
        assert next(results) is soon
        go_on.set()
        assert list(results) == [late]
        assert len(results) == 0
        with pytest.raises(StopIteration):
            results.next(0)


def test_its_descriptor_is_readable_while_one_has_ended(pool: shoal.Pool) -> None:
    results: ResultSet[Any] = ResultSet()
    assert not is_readable(results)
    for value in (1, -1, 3):
        results.add(pool.apply_async(after, (0, value)))
    seen = []
    while len(results):
        assert shoal.wait([results], PATIENCE) == [results]
        seen.append(results.next(timeout=0))
        with contextlib.suppress(shoal.TimeoutError):
            while len(results):
                seen.append(results.next(timeout=0))
    assert not is_readable(results)
    assert sorted(result.successful() for result in seen) == [False, True, True]


def test_one_that_has_ended_before_comes_out_as_well(pool: shoal.Pool) -> None:
    ended = pool.map_async(abs, [-1])
    ended.wait()
    results = ResultSet([ended])
    assert is_readable(results)
    assert results.next(0).get() == [1]
    assert not is_readable(results)


def test_cancelled_and_terminated_calls_come_out() -> None:
    with shoal.Pool(1) as pool:
        first, second = (pool.apply_async(after, (PATIENCE, 1)) for _ in range(2))
        results = ResultSet([first, second])
        first.cancel()
        assert results.next(PATIENCE) is first
        pool.terminate()
        assert results.next(PATIENCE) is second


def test_next_waits_no_longer_than_its_timeout(pool: shoal.Pool) -> None:
    results = ResultSet([pool.apply_async(after, (PATIENCE, 1))])
    with pytest.raises(shoal.TimeoutError):
        results.next(0.05)
    pool.terminate()


def test_futures_of_executors_are_taken_too() -> None:
    with ProcessPoolExecutor(2) as executor:
        results = ResultSet(executor.submit(after, 0, value) for value in range(20))
        assert sorted(future.result() for future in results) == list(range(20))


def test_hundreds_of_results_wake_an_event_loop(pool: shoal.Pool) -> None:
    async def main() -> list[int]:
        results: ResultSet[Any] = ResultSet()
        values: list[int] = []
        done = asyncio.Event()

        def take() -> None:
            values.append(results.next(timeout=0).get())
            if len(values) == 300:
                done.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(results, take)
        for value in range(300):
            results.add(pool.apply_async(after, (0, value)))
        await asyncio.wait_for(done.wait(), PATIENCE)
        loop.remove_reader(results)
        return values

    assert sorted(asyncio.run(main())) == list(range(300))


def test_it_has_one_descriptor_and_closes_it(pool: shoal.Pool) -> None:
    pool.apply(abs, [1])
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    results = ResultSet(pool.apply_async(abs, [value]) for value in range(100))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(list(results)) == 100
    gone = weakref.ref(results)
    del results
    gc.collect()
    assert gone() is None
    assert len(os.listdir("/proc/self/fd")) == before

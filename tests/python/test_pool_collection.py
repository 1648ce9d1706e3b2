"""Pools, executors and results go when the last reference does; no cycle keeps descriptors and memory for later."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal
from shoal.futures import ProcessPoolExecutor


def square(number: int) -> int:
    return number * number


@pytest.fixture(autouse=True)
def no_cyclic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


CALLS: dict[str, Callable[[Any], Any]] = {
    "apply_async": lambda pool: pool.apply_async(square, (2,)),
    "map_async": lambda pool: pool.map_async(square, range(100), 1),
    "map_async with limits": lambda pool: pool.map_async(square, range(100), timeout=60, retries=2),
    "imap": lambda pool: pool.imap(square, range(100)),
    "imap of a generator": lambda pool: pool.imap_unordered(square, (number for number in range(100))),
    "one that fails": lambda pool: pool.apply_async(square, ("x",)),
}


@pytest.mark.parametrize("which", CALLS)
def test_a_result_goes_with_its_last_reference(which: str, eventually: Callable[..., None]) -> None:
    with shoal.Pool(2) as pool:
        result = CALLS[which](pool)
        consumed = weakref.ref(result)
        if hasattr(result, "get"):
            result.wait()
        else:
            assert len(list(result)) == 100
        del result
        # The thread that read the generator may be just about to end, and whoever received to let go of it.
        eventually(lambda: pool.apply(square, (1,)) == 1 and consumed() is None, "the end of the result")


@pytest.mark.parametrize("which", [*CALLS, None])
def test_a_pool_goes_with_its_last_reference(which: str | None) -> None:
    shoal.Pool(1).terminate()  # what is made once
    before = open_descriptors()
    with shoal.Pool(2) as pool:
        if which is not None:
            result = CALLS[which](pool)
            if hasattr(result, "get"):
                result.wait()
            else:
                assert len(list(result)) == 100
            del result
    crew = weakref.ref(pool._crew)
    del pool
    assert crew() is None
    assert open_descriptors() <= before


@pytest.mark.parametrize("which", ["map_async", "imap", "imap_unordered"])
def test_items_too_large_to_be_sent_at_once_take_one_thread_which_ends_with_the_call(
    which: str, eventually: Callable[..., None]
) -> None:
    items = [bytes(1 << 20)] * 60  # of which a part is under way at a time
    with shoal.Pool(2) as pool:
        before = len(os.listdir("/proc/self/task"))
        if which == "map_async":
            assert pool.map_async(len, items, 1).get() == [1 << 20] * 60
        else:
            most = 0
            for length in getattr(pool, which)(len, items):
                assert length == 1 << 20
                most = max(most, len(os.listdir("/proc/self/task")))
            assert most <= before + 1
        pool.apply(square, (1,))
        eventually(lambda: len(os.listdir("/proc/self/task")) <= before, "the end of the threads")


def test_an_executor_goes_with_its_last_reference() -> None:
    before = open_descriptors()
    with ProcessPoolExecutor(2) as executor:
        assert list(executor.map(square, range(10))) == [number * number for number in range(10)]
        assert executor.submit(square, 3).result() == 9
    del executor
    assert open_descriptors() <= before


def test_a_pool_whose_results_were_awaited_goes_with_its_last_reference() -> None:
    async def use() -> weakref.ref[Any]:
        with shoal.Pool(2) as pool:
            assert await pool.amap(square, range(3)) == [0, 1, 4]
            assert await pool.apply_async(square, (3,)) == 9
            return weakref.ref(pool._crew)

    assert asyncio.run(use())() is None

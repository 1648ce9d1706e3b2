"""Pools in asyncio: await, amap, async for."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import shoal

PATIENCE = 30.0


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise LookupError("no 3 here")
    return number


def die(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def set_and_wait(began: Any, event: Any) -> str:
    began.set()
    return "went on" if event.wait(PATIENCE) else "waited in vain"


shared: Any = None


def share(value: Any) -> None:
    global shared
    shared = value


def count_and_wait_unless_first(number: int) -> int:
    if number > 0:
        begun, never = shared
        with begun.get_lock():
            begun.value += 1
        never.wait(PATIENCE)
    return number


@pytest.fixture
def pool(context: Any) -> Iterator[Any]:
    with context.Pool(2) as made:
        yield made


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


def test_a_result_is_awaited(pool: Any) -> None:
    async def main() -> None:
        result = pool.apply_async(square, (3,))
        assert await result == 9
        assert await result == 9  # again
        assert result.get() == 9
        assert await pool.map_async(square, range(5)) == [0, 1, 4, 9, 16]
        assert await pool.starmap_async(pow, [(2, 3), (3, 2)]) == [8, 9]

    run(main())


def test_await_raises_what_the_call_raised(pool: Any) -> None:
    async def main() -> None:
        with pytest.raises(LookupError, match="no 3 here"):
            await pool.apply_async(fail_at_three, (3,))
        with pytest.raises(shoal.WorkerDied):
            await pool.apply_async(die)
        with pytest.raises(LookupError):
            await pool.amap(fail_at_three, range(10))
        assert await pool.apply_async(square, (3,)) == 9

    run(main())


def test_a_thousand_results_are_gathered_and_no_thread_is_started(pool: Any) -> None:
    async def main() -> None:
        await pool.apply_async(square, (1,))
        threads = threading.active_count()
        results = [pool.apply_async(square, (number,)) for number in range(1000)]
        gathering = asyncio.gather(*results)
        await asyncio.sleep(0)
        assert threading.active_count() <= threads
        assert await gathering == [number * number for number in range(1000)]

    run(main())


def test_several_tasks_await_one_result(pool: Any) -> None:
    async def main() -> None:
        result = pool.apply_async(square, (3,))

        async def get() -> Any:
            return await result

        assert await asyncio.gather(get(), get(), get()) == [9, 9, 9]

    run(main())


def test_the_loop_runs_while_a_call_does(context: Any, pool: Any) -> None:
    began, go_on = context.Event(), context.Event()

    async def main() -> None:
        waiting = asyncio.ensure_future(_of(pool.apply_async(set_and_wait, (began, go_on))))
        while not began.is_set():
            await asyncio.sleep(0.001)
        assert not waiting.done()
        go_on.set()
        assert await waiting == "went on"

    run(main())


async def _of(result: Any) -> Any:
    return await result


def test_cancelling_the_task_that_awaits_cancels_the_call(context: Any) -> None:
    began, never = context.Event(), context.Event()

    async def main() -> None:
        with context.Pool(1) as pool:
            running = pool.apply_async(set_and_wait, (began, never))
            pending = pool.apply_async(square, (3,))
            tasks = [asyncio.ensure_future(_of(result)) for result in (running, pending)]
            while not began.is_set():
                await asyncio.sleep(0.001)
            for task in tasks:
                task.cancel()
            for task, result in zip(tasks, (running, pending), strict=True):
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert result.cancelled()
            assert await pool.apply_async(square, (4,)) == 16  # by another worker

    run(main())


def test_wait_for_ends_a_call_that_takes_too_long(context: Any, pool: Any) -> None:
    began, never = context.Event(), context.Event()

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_of(pool.apply_async(set_and_wait, (began, never))), 0.05)
        assert await pool.amap(square, range(5)) == [0, 1, 4, 9, 16]

    run(main())


def test_terminating_the_pool_ends_the_wait(context: Any) -> None:
    began, never = context.Event(), context.Event()

    async def main() -> None:
        with context.Pool(1) as pool:
            waiting = asyncio.ensure_future(_of(pool.apply_async(set_and_wait, (began, never))))
            while not began.is_set():
                await asyncio.sleep(0.001)
        with pytest.raises(shoal.ProcessError):
            await waiting

    run(main())


def test_several_loops_in_several_threads_await_results_of_one_pool(pool: Any) -> None:
    sums = []

    async def main() -> int:
        values: list[int] = await asyncio.wait_for(pool.amap(square, range(100)), PATIENCE)
        one_by_one = await asyncio.gather(*(pool.apply_async(square, (number,)) for number in range(100)))
        return sum(values) + sum(one_by_one)

    threads = [threading.Thread(target=lambda: sums.append(asyncio.run(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sums == [2 * 328350] * 4


def test_a_loop_that_was_closed_meanwhile_hurts_nobody(context: Any, pool: Any) -> None:
    began, go_on = context.Event(), context.Event()
    loop = asyncio.new_event_loop()
    result = pool.apply_async(set_and_wait, (began, go_on))
    task = loop.create_task(_of(result))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    go_on.set()
    assert result.get(PATIENCE) == "went on"
    assert pool.apply(square, (3,)) == 9
    with contextlib.suppress(RuntimeError):
        task.get_coro().close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_loops_are_not_kept(pool: Any) -> None:
    loop = asyncio.new_event_loop()
    gone = weakref.ref(loop)
    assert loop.run_until_complete(_of(pool.apply_async(square, (3,)))) == 9
    loop.close()
    del loop
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_async_for_gets_the_values_in_order(pool: Any, chunksize: int) -> None:
    async def main() -> None:
        assert [value async for value in pool.aimap(square, range(50), chunksize)] == [n * n for n in range(50)]
        assert [value async for value in pool.aimap(square, numbers(50), chunksize)] == [n * n for n in range(50)]
        assert [value async for value in pool.aimap(square, [], chunksize)] == []

    run(main())


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_async_for_gets_the_values_as_they_come(pool: Any, chunksize: int) -> None:
    async def main() -> None:
        for items in (range(50), numbers(50)):
            values = [value async for value in pool.aimap_unordered(square, items, chunksize)]
            assert sorted(values) == [number * number for number in range(50)]
        assert [value async for value in pool.aimap_unordered(square, [], chunksize)] == []

    run(main())


@pytest.mark.parametrize("method", ["aimap", "aimap_unordered"])
def test_an_endless_iterable_is_read_a_bounded_number_of_items_ahead(pool: Any, method: str) -> None:
    read = []

    async def main() -> None:
        items = (read.append(number) or number for number in itertools.count())
        async with contextlib.aclosing(getattr(pool, method)(square, items)) as values:
            count = 0
            async for _ in values:
                count += 1
                assert len(read) <= count + 300
                if count == 500:
                    break
        assert await pool.apply_async(square, (3,)) == 9

    run(main())


def test_values_come_while_an_asynchronous_iterable_waits(pool: Any) -> None:
    async def main() -> None:
        next_one = asyncio.Queue[Any]()

        async def items() -> AsyncIterator[int]:
            while True:
                yield await next_one.get()

        for method in (pool.aimap, pool.aimap_unordered):
            async with contextlib.aclosing(method(square, items())) as values:
                for number in range(3):
                    next_one.put_nowait(number)
                    assert await values.__anext__() == number * number

    run(main())


@pytest.mark.parametrize("method", ["aimap", "aimap_unordered"])
def test_an_error_ends_the_iteration(pool: Any, method: str) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise LookupError("no more items")

    async def main() -> None:
        values = getattr(pool, method)(fail_at_three, itertools.repeat(3))
        with pytest.raises(LookupError, match="no 3 here"):
            await values.__anext__()
        with pytest.raises(StopAsyncIteration):
            await values.__anext__()
        values = getattr(pool, method)(square, items())
        assert await values.__anext__() == 1
        with pytest.raises(LookupError, match="no more items"):
            await values.__anext__()

    run(main())


def test_the_end_of_the_iteration_cancels_what_has_not_begun(context: Any) -> None:
    begun, never = context.Value("i", 0), context.Event()

    async def main() -> None:
        with context.Pool(1, share, ((begun, never),)) as pool:
            values = pool.aimap(count_and_wait_unless_first, itertools.count())
            assert await values.__anext__() == 0
            await values.aclose()
            assert [await pool.apply_async(square, (3,)) for _ in range(3)] == [9, 9, 9]
            assert begun.value <= 1

    run(main())


def test_wrong_arguments_are_errors(pool: Any) -> None:
    with pytest.raises(ValueError, match="Chunksize must be 1"):
        pool.aimap(square, [], 0)
    pool.close()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.aimap(square, [])

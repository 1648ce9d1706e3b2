"""All that can be awaited, in each kind of event loop, and in several loops at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import shoal
from asyncio_support import each_loop, run  # noqa: F401

pytestmark = pytest.mark.usefixtures("each_loop")

PATIENCE = 30.0


def work(start: Any, numbers: Any) -> None:
    assert start.wait(PATIENCE)
    numbers.put_many(range(100))
    numbers.shutdown()
    raise SystemExit(7)


def cube(number: int) -> int:
    if number < 0:
        raise ValueError(number)
    return number**3


def test_queues_events_processes_and_pools_can_be_awaited_together(context: Any) -> None:
    start, numbers = context.Event(), context.Queue()
    child = context.Process(target=work, args=(start, numbers))
    child.start()
    with context.Pool(2) as pool:

        async def main() -> list[Any]:
            async def received() -> list[int]:
                return [number async for number in numbers]

            waiting = [asyncio.ensure_future(one) for one in (received(), start.await_(), child.wait())]
            cubes = [value async for value in pool.aimap(cube, range(10))]
            more = await pool.amap(cube, range(10)), await pool.apply_async(cube, [3])
            with pytest.raises(ValueError, match="-1"):
                await pool.apply_async(cube, [-1])
            start.set()
            return [cubes, *more, *await asyncio.gather(*waiting)]

        cubes = [cube(number) for number in range(10)]
        assert run(main()) == [cubes, cubes, 27, list(range(100)), True, 7]


def test_loops_in_several_threads_share_all_of_it() -> None:
    start, numbers = shoal.Event(), shoal.Queue[int]()
    child = shoal.get_context("fork").Process(target=work, args=(start, numbers))
    child.start()
    ends: list[Any] = []
    with shoal.Pool(1) as pool:

        async def main() -> None:
            async def received() -> list[int]:
                return [number async for number in numbers]

            waiting = [asyncio.ensure_future(one) for one in (received(), start.await_(), child.wait())]
            value = await pool.apply_async(cube, [2])
            start.set()
            ends.append((value, await asyncio.gather(*waiting)))

        threads = [threading.Thread(target=run, args=(main(), False)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert [value for value, _ in ends] == [8] * 3
    assert [rest[1:] for _, rest in ends] == [[True, 7]] * 3
    assert sorted(number for _, rest in ends for number in rest[0]) == list(range(100))


def test_a_loop_that_is_closed_while_tasks_wait_leaves_nothing_behind(context: Any) -> None:
    q, event = context.Queue(), context.Event()

    async def fail() -> None:
        waiting = [asyncio.ensure_future(q.aget()), asyncio.ensure_future(event.await_())]
        await asyncio.sleep(0.001)
        for task in waiting:
            task.cancel()
        raise ValueError("the program's own")

    for _ in range(3):
        with pytest.raises(ValueError, match="own"):
            run(fail())
    q.put(1)
    event.set()
    assert run(q.aget()) == 1
    assert run(event.await_()) is True

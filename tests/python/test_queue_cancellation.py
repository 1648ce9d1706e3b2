"""A task of asyncio that is cancelled while it gets or puts, at whatever point, has taken nothing and lost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import shoal
from asyncio_support import each_loop, new_loop, run  # noqa: F401

pytestmark = pytest.mark.usefixtures("each_loop")

STEPS = 5


def step(loop: asyncio.AbstractEventLoop) -> None:
    """One turn of the loop."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def do_at_steps(task_of: Callable[[], Awaitable[Any]], actions: dict[int, list[Callable[[], object]]]) -> Any:
    """What a task comes to if actions are done between the turns of its loop: 'cancelled', or what it returns."""
    loop = new_loop()
    try:
        task = asyncio.ensure_future(task_of(), loop=loop)
        for turn in range(2 * STEPS):
            for action in actions.get(turn, ()):
                action() if action is not cancel else task.cancel()
            step(loop)
        return "cancelled" if task.cancelled() else task.result()
    finally:
        loop.close()


def cancel() -> None:
    """Stands for the task's own."""


@pytest.mark.parametrize("order", ["cancel first", "put first"])
def test_an_item_put_at_any_step_and_a_cancel_at_any_step(order: str) -> None:
    received = 0
    for at_put, at_cancel in itertools.product(range(STEPS), range(STEPS)):
        q: shoal.Queue[str] = shoal.Queue()
        actions: dict[int, list[Callable[[], object]]] = {turn: [] for turn in range(STEPS)}
        actions[at_put].append(lambda q=q: q.put("item"))  # type: ignore[misc]
        actions[at_cancel].insert(0 if order == "cancel first" else 1, cancel)
        got = do_at_steps(q.aget, actions)
        assert [got] == ["item"] if q.empty() else got == "cancelled" and q.get_nowait() == "item"
        received += got == "item"
    assert 0 < received < STEPS * STEPS


@pytest.mark.parametrize("order", ["cancel first", "get first"])
def test_room_made_at_any_step_and_a_cancel_at_any_step(order: str) -> None:
    for at_get, at_cancel in itertools.product(range(STEPS), range(STEPS)):
        q: shoal.Queue[str] = shoal.Queue(1)
        q.put("old")
        actions: dict[int, list[Callable[[], object]]] = {turn: [] for turn in range(STEPS)}
        actions[at_get].append(q.get)
        actions[at_cancel].insert(0 if order == "cancel first" else 1, cancel)
        end = do_at_steps(lambda q=q: q.aput("new"), actions)  # type: ignore[misc]
        assert q.get_many(5, timeout=0) == ([] if end == "cancelled" else ["new"])


def put_all(q: Any, count: int) -> None:
    for number in range(count):
        q.put(number)
    q.shutdown()


@pytest.mark.parametrize("count", [20_000])
def test_consumers_that_are_cancelled_at_random_lose_nothing(count: int) -> None:
    context = shoal.get_context("fork")
    q = context.Queue(100)
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    received: list[int] = []
    cancelled = 0

    async def consume() -> None:
        while True:
            received.append(await q.aget())
            if chance.random() < 0.5:
                await asyncio.sleep(0)

    async def main() -> None:
        nonlocal cancelled
        tasks = [asyncio.create_task(consume()) for _ in range(8)]
        while not all(task.done() for task in tasks):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            chosen = chance.randrange(len(tasks))
            if tasks[chosen].done():
                await asyncio.sleep(0.001)
            elif tasks[chosen].cancel():
                cancelled += 1
                with pytest.raises((asyncio.CancelledError, shoal.ShutDown)):
                    await tasks[chosen]
                tasks[chosen] = asyncio.create_task(consume())
        for task in tasks:
            assert isinstance(task.exception(), shoal.ShutDown)

    child = context.Process(target=put_all, args=(q, count))
    child.start()
    run(main())
    child.join()
    assert cancelled > 0, f"seed {seed}"
    assert sorted(received) == list(range(count)), f"seed {seed}"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with 3.11")
def test_time_limits_lose_nothing() -> None:
    context = shoal.get_context("fork")
    q = context.Queue(10)
    received: list[int] = []
    timeouts = 0

    async def main() -> None:
        nonlocal timeouts
        with contextlib.suppress(shoal.ShutDown):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.0002) as limit:
                        received.append(await q.aget())
                timeouts += limit.expired()

    child = context.Process(target=put_slowly, args=(q, 500))
    child.start()
    run(main())
    child.join()
    assert received == list(range(500))
    assert timeouts > 0


def put_slowly(q: Any, count: int) -> None:
    for number in range(count):
        q.put(number)
        time.sleep(0.0003)
    q.shutdown()

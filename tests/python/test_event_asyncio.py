"""Events in asyncio: await_."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from asyncio_support import asleep, each_loop, run  # noqa: F401

pytestmark = pytest.mark.usefixtures("each_loop")

PATIENCE = 30.0


def test_await_returns_at_once_if_it_is_set() -> None:
    event = shoal.Event()
    event.set()
    assert run(event.await_()) is True


def test_another_process_wakes_the_loop(context: Any) -> None:
    go_on, event = context.Event(), context.Event()
    child = context.Process(target=set_when, args=(go_on, event))
    child.start()

    async def main() -> bool:
        waiting = asyncio.create_task(event.await_())
        await asleep(waiting)
        go_on.set()
        return await waiting

    assert run(main()) is True
    child.join()


def set_when(go_on: Any, event: Any) -> None:
    assert go_on.wait(PATIENCE)
    event.set()


def test_all_tasks_are_woken_also_those_that_look_when_it_is_clear_again() -> None:
    event = shoal.Event()

    async def main() -> list[bool]:
        waiting = [asyncio.create_task(event.await_()) for _ in range(100)]
        await asleep(*waiting)
        waiting[0].add_done_callback(lambda _: event.clear())
        event.set()
        return list(await asyncio.gather(*waiting))

    assert run(main()) == [True] * 100
    assert not event.is_set()


def test_it_can_be_awaited_again_and_again() -> None:
    event, answer = shoal.Event(), shoal.Event()

    async def main() -> None:
        async def reply() -> None:
            for _ in range(100):
                await event.await_()
                event.clear()
                answer.set()

        replying = asyncio.create_task(reply())
        for _ in range(100):
            event.set()
            await answer.await_()
            answer.clear()
        await replying

    run(main())


def test_a_cancelled_task_disturbs_no_other() -> None:
    event = shoal.Event()

    async def main() -> bool:
        first, second = (asyncio.create_task(event.await_()) for _ in range(2))
        await asleep(first, second)
        first.cancel()
        await asleep(second)
        assert first.cancelled()
        event.set()
        return await second

    assert run(main()) is True


def test_a_timeout_ends_the_wait() -> None:
    event = shoal.Event()

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(event.await_(), 0.02)

    run(main())


def test_loops_in_several_threads_wait_for_one_event(eventually: Callable[..., None]) -> None:
    event = shoal.Event()
    woken: list[bool] = []
    waiting = threading.Semaphore(0)

    async def wait() -> None:
        task = asyncio.create_task(event.await_())
        await asleep(task)
        waiting.release()
        woken.append(await task)

    threads = [threading.Thread(target=run, args=(wait(), False)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=PATIENCE)
    event.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert woken == [True] * 4


def test_waiting_starts_no_thread_and_takes_one_descriptor() -> None:
    event = shoal.Event()

    async def main() -> None:
        before = os.listdir("/proc/self/task"), len(os.listdir("/proc/self/fd"))
        waiting = [asyncio.create_task(event.await_()) for _ in range(10)]
        await asleep(*waiting)
        assert (os.listdir("/proc/self/task"), len(os.listdir("/proc/self/fd"))) == (before[0], before[1] + 1)
        event.set()
        await asyncio.gather(*waiting)

    run(main())

"""Queues in asyncio: aget, aput, async for."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import shoal
from asyncio_support import asleep, each_loop, new_loop, run  # noqa: F401

pytestmark = pytest.mark.usefixtures("each_loop")

PATIENCE = 30.0


def test_aget_returns_what_is_there() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.put(1)
    assert run(q.aget()) == 1


def test_aget_waits_for_an_item_while_other_tasks_run() -> None:
    q: shoal.Queue[str] = shoal.Queue()

    async def main() -> str:
        waiting = asyncio.create_task(q.aget())
        await asleep(waiting)
        q.put("item")
        return await waiting

    assert run(main()) == "item"


def test_items_of_other_processes_wake_the_loop(context: Any) -> None:
    q, answers = context.Queue(), context.Queue()
    child = context.Process(target=answer_all, args=(q, answers))
    child.start()

    async def main() -> list[int]:
        received = []
        for number in range(100):
            await q.aput(number)
            received.append(await answers.aget())
        q.shutdown()
        return received

    assert run(main()) == [number * 2 for number in range(100)]
    child.join()
    assert child.exitcode == 0


def answer_all(q: Any, answers: Any) -> None:
    for number in q:
        answers.put(number * 2)


def test_aput_waits_for_room() -> None:
    q: shoal.Queue[int] = shoal.Queue(2)

    async def main() -> list[int]:
        putting = asyncio.create_task(put_all(q, 20))
        await asleep(putting)
        assert q.full()
        received = [await q.aget() for _ in range(20)]
        await putting
        return received

    assert run(main()) == list(range(20))


async def put_all(q: Any, count: int) -> None:
    for number in range(count):
        await q.aput(number)


def test_aput_waits_for_room_in_bytes() -> None:
    q: shoal.Queue[bytes] = shoal.Queue(maxbytes=1000)

    async def main() -> None:
        await q.aput(bytes(1100))
        putting = asyncio.create_task(q.aput(bytes(800)))
        await asleep(putting)
        assert len(await q.aget()) == 1100
        await putting
        assert len(q.get_nowait()) == 800

    run(main())


def test_async_for_ends_at_shutdown(context: Any) -> None:
    q = context.Queue()
    child = context.Process(target=put_and_shut_down, args=(q,))
    child.start()

    async def main() -> list[int]:
        return [item async for item in q]

    assert run(main()) == list(range(100))
    child.join()


def put_and_shut_down(q: Any) -> None:
    q.put_many(range(100))
    q.shutdown()


def test_shutdown_wakes_all_tasks() -> None:
    q: shoal.Queue[int] = shoal.Queue(1)

    async def main() -> list[Any]:
        getting = [asyncio.create_task(q.aget()) for _ in range(3)]
        await asleep(*getting)
        q.shutdown()
        with pytest.raises(shoal.ShutDown):
            await q.aput(1)
        return await asyncio.gather(*getting, return_exceptions=True)

    assert [type(end) for end in run(main())] == [shoal.ShutDown] * 3


def test_aget_on_lease() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> None:
        waiting = asyncio.create_task(q.aget(lease=True))
        await asleep(waiting)
        q.put(1)
        with await waiting as lease:
            assert lease.item == 1
        assert not lease.active

    run(main())
    assert q.empty()


def test_a_cancelled_task_leaves_the_item() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> None:
        waiting = asyncio.create_task(q.aget())
        await asleep(waiting)
        waiting.cancel()
        q.put(1)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main())
    assert q.get_nowait() == 1


@pytest.mark.parametrize("steps", range(6))
def test_cancelled_after_any_number_of_steps_nothing_is_lost(steps: int) -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> list[int]:
        waiting = asyncio.create_task(q.aget())
        await asleep(waiting)
        q.put(1)
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        try:
            return [await waiting]
        except asyncio.CancelledError:
            return []

    received = run(main())
    received += q.get_many(5, timeout=0)
    assert received == [1]


@pytest.mark.parametrize("steps", range(6))
def test_a_task_that_is_cancelled_passes_its_turn_on(steps: int) -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> int:
        first, second = (asyncio.create_task(q.aget()) for _ in range(2))
        await asleep(first, second)
        q.put(1)
        for _ in range(steps):
            await asyncio.sleep(0)
        first.cancel()
        try:
            received = await first
        except asyncio.CancelledError:
            return await second
        second.cancel()
        await asyncio.wait([second])
        return received

    assert run(main()) == 1


def test_a_timeout_leaves_the_item() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(q.aget(), 0.05)

    run(main())
    q.put(1)
    assert q.get_nowait() == 1


def test_several_tasks_get_one_item_each_in_their_order() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> list[int]:
        waiting = [asyncio.create_task(q.aget()) for _ in range(10)]
        await asleep(*waiting)
        for number in range(5):
            q.put(number)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        q.put_many(range(5, 10))
        return await asyncio.gather(*waiting)

    assert run(main()) == list(range(10))


def test_one_item_wakes_one_task() -> None:
    class Counted(shoal.Queue[int]):
        looks = 0

        def get_nowait(self) -> int:
            self.looks += 1
            return super().get_nowait()

    q = Counted()

    async def main() -> int:
        waiting = [asyncio.create_task(q.aget()) for _ in range(100)]
        await asleep(*waiting)
        before = q.looks
        q.put(1)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        await asleep(*(task for task in waiting if not task.done()))
        woken = q.looks - before
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return woken

    assert run(main()) == 1


def test_loops_in_several_threads_share_a_queue() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    received: list[list[int]] = [[], []]

    async def receive(into: list[int]) -> None:
        into.extend([item async for item in q])

    threads = [threading.Thread(target=run, args=(receive(into), False)) for into in received]
    for thread in threads:
        thread.start()
    for number in range(500):
        q.put(number)
    q.shutdown()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(received[0] + received[1]) == list(range(500))


def test_getting_and_putting_tasks_wait_for_one_queue_at_once() -> None:
    q: shoal.Queue[int] = shoal.Queue(1)

    async def main() -> list[int]:
        putting = [asyncio.create_task(q.aput(number)) for number in range(50)]
        getting = [asyncio.create_task(q.aget()) for _ in range(50)]
        await asyncio.gather(*putting)
        return await asyncio.gather(*getting)

    assert sorted(run(main())) == list(range(50))


def test_a_loop_that_ends_with_tasks_asleep_leaves_nothing() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    loop = new_loop()
    task = loop.create_task(q.aget())
    loop.run_until_complete(asyncio.sleep(0))
    loop.set_exception_handler(lambda loop, context: None)  # it would complain of the task
    loop.close()
    gone = weakref.ref(loop)
    del loop, task
    gc.collect()
    assert gone() is None
    q.put(1)
    assert run(q.aget()) == 1


def test_a_handle_in_use_by_a_loop_is_free_after_it(eventually: Callable[..., None]) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    for _ in range(20):
        test_aget_waits_for_an_item_while_other_tasks_run()
        test_aput_waits_for_room()
    eventually(lambda: descriptors() <= before)


def test_a_forked_child_does_not_disturb_its_parents_tasks() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    results: shoal.Queue[Any] = shoal.Queue()
    fork = shoal.get_context("fork")

    async def main() -> int:
        waiting = asyncio.create_task(q.aget())
        await asleep(waiting)
        child = fork.Process(target=end_tasks_of_parent, args=(waiting, results))
        child.start()
        assert await results.aget() == "from the child"
        child.join()
        assert child.exitcode == 0
        q.put(2)
        return await waiting

    assert run(main()) == 2


def end_tasks_of_parent(waiting: Any, results: Any) -> None:
    # What the garbage collector may do in a child: end the coroutine, which is the parent's.
    waiting.get_coro().close()
    test_aget_waits_for_an_item_while_other_tasks_run()
    results.put("from the child")


def test_a_signal_handler_of_the_loop_runs_while_tasks_wait() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> int:
        import signal

        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, q.put, 7)
        try:
            waiting = asyncio.create_task(q.aget())
            await asleep(waiting)
            os.kill(os.getpid(), signal.SIGUSR1)
            return await waiting
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)

    assert run(main()) == 7


def test_a_closed_handle_is_refused() -> None:
    q: shoal.Queue[int] = shoal.Queue()
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        run(q.aget())
    with pytest.raises(ValueError, match="is closed"):
        run(q.aput(1))


def test_waiting_for_a_queue_starts_no_thread() -> None:
    q: shoal.Queue[int] = shoal.Queue()

    async def main() -> int:
        waiting = asyncio.create_task(q.aget())
        await asleep(waiting)
        threads = threading.active_count()
        q.put(1)
        await waiting
        return threads

    assert run(main()) == threading.active_count()

"""Waiting for processes in asyncio."""

from __future__ import annotations

import asyncio
import selectors
import signal
import sys
import threading
from typing import Any

import pytest


def end_when(go_on: Any) -> None:
    go_on.wait(30)
    sys.exit(5)


def test_wait_returns_the_exit_code_and_starts_no_thread(context: Any) -> None:
    async def main() -> int:
        threads = threading.active_count()
        go_on = context.Event()
        child = context.Process(target=end_when, args=(go_on,))
        child.start()
        waiting = asyncio.ensure_future(child.wait())
        await asyncio.sleep(0)
        assert threading.active_count() == threads
        go_on.set()
        code: int = await asyncio.wait_for(waiting, 30)
        assert await child.wait() == code
        assert threading.active_count() == threads
        return code

    assert asyncio.run(main()) == 5


def test_several_tasks_wait_for_one_process(context: Any) -> None:
    async def main() -> list[int]:
        go_on = context.Event()
        child = context.Process(target=end_when, args=(go_on,))
        child.start()
        waiting = [asyncio.ensure_future(child.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        go_on.set()
        return await asyncio.wait_for(asyncio.gather(*waiting), 30)

    assert asyncio.run(main()) == [5, 5, 5]


@pytest.mark.usefixtures("no_leaks")
def test_a_cancelled_wait_changes_nothing(context: Any) -> None:
    async def main() -> None:
        go_on = context.Event()
        child = context.Process(target=end_when, args=(go_on,))
        child.start()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(child.wait(), 0.01)
        assert child.is_alive()
        go_on.set()
        assert await asyncio.wait_for(child.wait(), 30) == 5
        child.close()

    if context.get_start_method() == "forkserver":
        warm_up = context.Process()
        warm_up.start()
        warm_up.join()
    asyncio.run(main())


def test_interrupt_raises_keyboard_interrupt_in_the_child(context: Any) -> None:
    go_on, begun = context.Event(), context.Event()
    child = context.Process(target=end_with_2_when_interrupted, args=(begun, go_on))
    child.start()
    assert begun.wait(30)
    child.interrupt()
    child.join(30)
    assert child.exitcode == 2


def end_with_2_when_interrupted(begun: Any, go_on: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        begun.set()
        go_on.wait(30)
    except KeyboardInterrupt:
        sys.exit(2)


def test_selectors_take_the_process_itself(context: Any) -> None:
    child = context.Process()
    with pytest.raises(ValueError, match="not started"):
        child.fileno()
    child.start()
    with selectors.DefaultSelector() as selector:
        selector.register(child, selectors.EVENT_READ)
        assert selector.select(30)[0][0].fileobj is child
    child.join()

"""Event loops for tests: asyncio's own, and uvloop where there is one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

try:
    import uvloop
except ImportError:  # there is none for this interpreter
    uvloop = None  # type: ignore[assignment,unused-ignore]

PATIENCE = 30.0

_makers: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if uvloop is not None:
    _makers["uvloop"] = uvloop.new_event_loop
_chosen = "asyncio"


@pytest.fixture(params=_makers)
def each_loop(request: pytest.FixtureRequest) -> Any:
    """The test runs once with each kind of loop, by run()."""
    global _chosen
    _chosen = request.param
    yield
    _chosen = "asyncio"


def new_loop() -> asyncio.AbstractEventLoop:
    return _makers[_chosen]()


def watched() -> int:
    """How many descriptors all event loops of this process watch."""
    return sum(watched_by(Path("/proc/self/fdinfo", name)) for name in os.listdir("/proc/self/fdinfo"))


def watched_by(information: Path) -> int:
    try:
        return information.read_text().count("tfd:")
    except FileNotFoundError:
        return 0


async def asleep(*tasks: asyncio.Task[Any]) -> None:
    """Return when the tasks have started and got as far as they could."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


def run(main: Coroutine[Any, Any, Any], check_watched: bool = True) -> Any:
    """Run it in an event loop, in debug mode, which complains of nothing and is left as it was."""

    complaints: list[Any] = []

    async def checked() -> Any:
        await asyncio.sleep(0.001)  # until the loop watches what it needs itself
        before = watched()
        result = await asyncio.wait_for(main, PATIENCE)
        if check_watched:
            await asyncio.sleep(0.001)
            assert watched() == before
        return result

    loop = new_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    try:
        result = loop.run_until_complete(checked())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert complaints == []
    return result

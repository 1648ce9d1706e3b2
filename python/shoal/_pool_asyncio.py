"""Pools in asyncio: results wake those that wait for them through the event loop, without a thread for each."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
    from typing import Any, TypeVar

    from shoal._results import ApplyResult
    from shoal.pool import Pool

    R = TypeVar("R")
    S = TypeVar("S")


class _Arrivals:
    """What other threads have for one event loop.

    Waking a loop costs a system call. So it is woken once for all that arrives before it gets to see it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []

    def add(self, call: Callable[[], object]) -> None:
        """Have the loop call `call`, unless it is closed by then."""
        with self._lock:
            self._calls.append(call)
            if len(self._calls) > 1:
                return
        loop = self._loop()
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        with self._lock:
            calls, self._calls = self._calls, []
        for call in calls:
            call()


_arrivals: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Arrivals] = weakref.WeakKeyDictionary()
_arrivals_lock = threading.Lock()


def _arrivals_of(loop: asyncio.AbstractEventLoop) -> _Arrivals:
    with _arrivals_lock:
        found = _arrivals.get(loop)
        if found is None:
            found = _arrivals[loop] = _Arrivals(loop)
        return found


async def result_of(result: ApplyResult[R]) -> R:
    """What `result.get()` returns or raises, once it is there. If this is cancelled, so is the call."""
    if not result.ready():
        loop = asyncio.get_running_loop()
        arrivals = _arrivals_of(loop)
        there = loop.create_future()

        def tell() -> None:
            if not there.done():
                there.set_result(None)

        result._when_done(lambda _: arrivals.add(tell))
        try:
            await there
        except asyncio.CancelledError:
            result.cancel()
            raise
    return result.get(0)


async def imap(
    pool: Pool,
    func: Callable[[S], R],
    iterable: Iterable[S] | AsyncIterable[S],
    chunksize: int,
    ordered: bool,
    ahead: int,
    options: dict[str, Any],
) -> AsyncGenerator[R, None]:
    """The values of `func` for the items. At most `ahead` chunks are under way, which are cancelled at the end.

    A task reads the iterable, so that values are handed out while an asynchronous one waits.
    """
    arrivals = _arrivals_of(asyncio.get_running_loop())
    room = asyncio.Semaphore(ahead)
    under_way: set[ApplyResult[Any]] = set()
    # What to hand out next; None once the iterable has ended.
    calls: asyncio.Queue[ApplyResult[Any] | None] = asyncio.Queue()

    def enqueue_when_done(call: ApplyResult[Any]) -> None:
        call._when_done(lambda _: arrivals.add(lambda: calls.put_nowait(call)))

    async def feed() -> None:
        try:
            async for chunk in _chunks(iterable, chunksize):
                await room.acquire()
                call = pool.map_async(func, chunk, len(chunk), **options)
                under_way.add(call)
                if ordered:
                    calls.put_nowait(call)
                else:
                    enqueue_when_done(call)
        finally:
            calls.put_nowait(None)

    feeder = asyncio.ensure_future(feed())
    feeder.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, whoever takes it from here
    try:
        while under_way or not feeder.done() or not calls.empty():
            call = await calls.get()
            if call is None:
                if ordered or not under_way:
                    break
                continue
            values = await result_of(call)
            under_way.discard(call)
            for value in values:
                yield value
            room.release()
        await feeder  # raises what the iterable did
    finally:
        feeder.cancel()
        for call in under_way:
            call.cancel()


async def _chunks(iterable: Iterable[S] | AsyncIterable[S], size: int) -> AsyncIterator[list[S]]:
    if not hasattr(iterable, "__aiter__"):
        items = iter(iterable)
        while chunk := list(itertools.islice(items, size)):
            yield chunk
        return
    chunk = []
    async for item in iterable:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk

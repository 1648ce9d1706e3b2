"""How soon an event loop's handler has what another process sends, when the loop was asleep.

usage: wakeups.py LIBRARY LOOP IDLE median|p99|shared COUNT

LIBRARY  shoal, or eventfd: what no descriptor of a queue can do without, an eventfd, and the time in shared memory
LOOP     of loops.py: its handler is a function that is called when the descriptor is readable; asyncio:task and
         uvloop:task: a task that awaits the item

Half a millisecond after each, when the loop has fallen asleep, the other process sends the time; it is compared with
when the handler has it. The loop watches IDLE more of the same kind, to which nothing is sent.

Prints how many seconds COUNT of them take if each takes as long as the median one, or as one of a hundred does at
least; or as the median one where both processes share one processor.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import queue
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from libraries import module, needs
from loops import AsyncioLoop, Loop, make_loop

NANOSECONDS_TO_FALL_ASLEEP = 500_000
WARMING_UP = 20

Handler = Callable[[int], None]


def shared_numbers() -> memoryview:
    return memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")


class EventfdChannel:
    """From one process to another, whose loop watches the descriptor."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._value = shared_numbers()
        self._came: asyncio.Future[int] | None = None

    def fileno(self) -> int:
        return self._descriptor

    def put(self, value: int) -> None:
        self._value[0] = value
        os.eventfd_write(self._descriptor, 1)

    def get_nowait(self) -> int:
        os.eventfd_read(self._descriptor)
        return self._value[0]

    async def aget(self) -> int:
        """What a task cannot do without: a future, and a function which the loop calls."""
        loop = asyncio.get_running_loop()
        if self._came is None:
            loop.add_reader(self._descriptor, self._receive)
        self._came = loop.create_future()
        return await self._came

    def _receive(self) -> None:
        if self._came is not None:
            self._came.set_result(self.get_nowait())


def make_channel(library: str) -> Any:
    return EventfdChannel() if library == "eventfd" else module(library).Queue()


def unexpected(*_: object) -> None:
    print("something that is idle was reported", file=sys.stderr)
    os._exit(1)


def watch(loop: Loop, by_task: bool, channel: Any, handler: Handler) -> None:
    """Have the handler called with whatever comes."""
    if by_task:
        assert isinstance(loop, AsyncioLoop)
        loop.start(serve(channel, handler))
    else:
        loop.watch(channel.fileno(), lambda: receive(channel, handler))


def receive(channel: Any, handler: Handler) -> None:
    try:
        value = channel.get_nowait()
    except (queue.Empty, BlockingIOError):  # the descriptor was readable for nothing
        return
    handler(value)


async def serve(channel: Any, handler: Handler) -> None:
    while True:
        handler(await channel.aget())


def start_sender(channel: Any, received: memoryview, count: int, processor: int) -> int:
    """Send `count` times, in another process, half a millisecond after what was sent before was received."""
    pid = os.fork()
    if pid != 0:
        return pid
    os.sched_setaffinity(0, {processor})
    for sent in range(count):
        while received[0] < sent:
            pass
        # Not asleep itself: a processor that has nothing to do is slow to come back.
        end = time.monotonic_ns() + NANOSECONDS_TO_FALL_ASLEEP
        while time.monotonic_ns() < end:
            pass
        channel.put(time.monotonic_ns())
    os._exit(0)


def latencies(loop: Loop, by_task: bool, channel: Any, on_one_processor: bool, count: int) -> list[int]:
    """The nanoseconds from sending to receiving, of each."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        needs("two processors")
    received = shared_numbers()
    taken: list[int] = []

    def handler(sent: int) -> None:
        taken.append(time.monotonic_ns() - sent)
        received[0] += 1
        if len(taken) == count:
            loop.stop()

    watch(loop, by_task, channel, handler)
    pid = start_sender(channel, received, count, first if on_one_processor else others[0])
    os.sched_setaffinity(0, {first})
    asleep_before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    loop.run()
    asleep = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - asleep_before
    os.waitpid(pid, 0)
    if asleep < count * 0.9:
        raise RuntimeError(f"the loop slept {asleep} of {count} times")
    return taken


def main() -> None:
    library, loop_name, idle, what, count = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    loop_name, _, handler = loop_name.partition(":")
    loop, by_task = make_loop(loop_name), handler == "task"
    active = make_channel(library)
    others = [make_channel(library) for _ in range(idle)]
    for other in others:
        watch(loop, by_task, other, unexpected)
    taken = sorted(latencies(loop, by_task, active, what == "shared", count + WARMING_UP)[WARMING_UP:])
    print(taken[int((count - 1) * (0.99 if what == "p99" else 0.5))] * 1e-9 * count)


if __name__ == "__main__":
    main()

"""How soon an event loop's handler has what another process sends, when the loop was asleep.

usage: wakeups.py LIBRARY LOOP IDLE median|p99 COUNT

LIBRARY  shoal, or eventfd: what no descriptor of a queue can do without, an eventfd, and the time in shared memory
LOOP     asyncio.reader, asyncio.task, uvloop.reader, uvloop.task, glib, qt: of asyncio, a function that is called
         when the descriptor is readable, or a task that awaits the item

Half a millisecond after each, when the loop has fallen asleep, the other process sends the time; it is compared with
when the handler has it. The loop watches IDLE more of the same kind, to which nothing is sent.

Prints how many seconds COUNT of them take if each takes as long as the median one, or as one of a hundred does at
least.
"""

from __future__ import annotations

import asyncio
import functools
import mmap
import os
import queue
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from libraries import module, not_available

LONG_ENOUGH_TO_FALL_ASLEEP = 500_000
WARMING_UP = 20
# Where Debian keeps the bindings of toolkits, for its own interpreter and for those with the same binary interface.
DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"

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


def receive(channel: Any, handler: Handler) -> None:
    try:
        value = channel.get_nowait()
    except (queue.Empty, BlockingIOError):  # the descriptor was readable for nothing
        return
    handler(value)


class AsyncioLoop:
    """Watches by functions, or by tasks."""

    def __init__(self, name: str, by: str) -> None:
        self._loop = module("uvloop").new_event_loop() if name == "uvloop" else asyncio.new_event_loop()
        self._by_tasks = by == "task"
        self._tasks: list[asyncio.Task[None]] = []

    def watch(self, channel: Any, handler: Handler) -> None:
        if self._by_tasks:
            self._tasks.append(self._loop.create_task(self._serve(channel, handler)))
        else:
            self._loop.add_reader(channel.fileno(), receive, channel, handler)

    async def _serve(self, channel: Any, handler: Handler) -> None:
        while True:
            handler(await channel.aget())

    def run(self) -> None:
        self._loop.run_forever()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            self._loop.run_until_complete(asyncio.wait(self._tasks))

    def stop(self) -> None:
        self._loop.stop()


class GlibLoop:
    def __init__(self) -> None:
        glib = debian_module("gi.repository.GLib")
        self._loop = glib.MainLoop()
        self._add = functools.partial(glib.unix_fd_add_full, glib.PRIORITY_DEFAULT)
        self._condition = glib.IOCondition.IN

    def watch(self, channel: Any, handler: Handler) -> None:
        def readable(*_: object) -> bool:
            receive(channel, handler)
            return True

        self._add(channel.fileno(), self._condition, readable)

    def run(self) -> None:
        self._loop.run()

    def stop(self) -> None:
        self._loop.quit()


class QtLoop:
    def __init__(self) -> None:
        self._core = debian_module("PyQt6.QtCore")
        self._application = self._core.QCoreApplication([])
        self._notifiers: list[Any] = []

    def watch(self, channel: Any, handler: Handler) -> None:
        notifier = self._core.QSocketNotifier(channel.fileno(), self._core.QSocketNotifier.Type.Read)
        notifier.activated.connect(lambda *_: receive(channel, handler))
        self._notifiers.append(notifier)

    def run(self) -> None:
        self._application.exec()

    def stop(self) -> None:
        self._application.quit()


def debian_module(name: str) -> Any:
    sys.path.append(DEBIAN_PACKAGES)
    try:
        return __import__(name, fromlist=["*"])
    except ImportError:
        not_available(name)
    finally:
        sys.path.remove(DEBIAN_PACKAGES)


def make_loop(name: str) -> Any:
    if name == "glib":
        return GlibLoop()
    if name == "qt":
        return QtLoop()
    return AsyncioLoop(*name.split("."))


def start_sender(channel: Any, received: memoryview, count: int) -> int:
    """Send `count` times, in another process, half a millisecond after what was sent before was received."""
    pid = os.fork()
    if pid != 0:
        return pid
    for sent in range(count):
        while received[0] < sent:
            pass
        # Not asleep itself: a processor that has nothing to do is slow to come back.
        end = time.monotonic_ns() + LONG_ENOUGH_TO_FALL_ASLEEP
        while time.monotonic_ns() < end:
            pass
        channel.put(time.monotonic_ns())
    os._exit(0)


def latencies(loop: Any, channel: Any, count: int) -> list[int]:
    """The nanoseconds from sending to receiving, of each."""
    received = shared_numbers()
    taken: list[int] = []

    def handler(sent: int) -> None:
        taken.append(time.monotonic_ns() - sent)
        received[0] += 1
        if len(taken) == count:
            loop.stop()

    channel.fileno()  # it is made before the fork
    pid = start_sender(channel, received, count)
    loop.watch(channel, handler)
    asleep_before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
    loop.run()
    asleep = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - asleep_before
    os.waitpid(pid, 0)
    if asleep < count * 0.9:
        raise RuntimeError(f"the loop slept {asleep} of {count} times")
    return taken


def main() -> None:
    library, loop_name, idle, what, count = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    loop = make_loop(loop_name)
    channels = [make_channel(library) for _ in range(idle + 1)]
    for channel in channels[1:]:
        loop.watch(channel, unexpected)
    taken = sorted(latencies(loop, channels[0], count + WARMING_UP)[WARMING_UP:])
    print(taken[int((count - 1) * (0.5 if what == "median" else 0.99))] * 1e-9 * count)


if __name__ == "__main__":
    main()

"""Whoever waits costs nothing meanwhile: no thread is created, no timer runs, no thread of the process wakes up."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

# What wakes up now and then does so each second at the latest.
QUIET_SECONDS = 2.2
PATIENCE = 45.0

# Waits for much that nobody does, and for a queue.
PROGRAM = """
    import asyncio, os, select, selectors, signal, sys, threading
    import shoal

    class Waits:
        def wait(): shoal.wait(objects)
        def select(): select.select(objects[:100], [], [])
        def poll(): poll(select.poll())
        def epoll(): poll(select.epoll())
        def selectors():
            with selectors.DefaultSelector() as selector:
                for one in objects:
                    selector.register(one, selectors.EVENT_READ)
                selector.select()
        def asyncio():
            async def main():
                for one in awaitables:
                    tasks.append(asyncio.ensure_future(one()))
                await queue.aget()
            asyncio.run(main())

    def poll(poller):
        for one in objects:
            poller.register(one, select.EPOLLIN)
        poller.poll()

    async def result_of(result):
        await result

    if __name__ == "__main__":
        fork, tasks = shoal.get_context("fork"), []
        child = fork.Process(target=signal.pause, daemon=True)
        child.start()
        queue, full, event, (here, there) = shoal.Queue(), shoal.Queue(1), shoal.Event(), shoal.Pipe()
        full.put_nowait(0)
        objects = [queue, event, child, here]
        awaitables = [queue.aget, event.await_, child.wait, lambda: full.aput(1)]
        if "pool" in sys.argv:
            pool = fork.Pool(1)
            assert pool.map(abs, [-1]) == [1]
        if "calls" in sys.argv:
            result, other, *some = [pool.apply_async(signal.pause) for _ in range(20)]
            objects += [result, pool.imap_unordered(os.kill, [0]), shoal.pool.ResultSet(some)]
            awaitables.append(lambda: result_of(other))
        objects += [make() for _ in range(100) for make in (shoal.Queue, shoal.Event)]
        print("ready", flush=True)
        getattr(Waits, sys.argv[1])()
"""


class Waiting:
    """A process that waits."""

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        command = [sys.executable, "-c", textwrap.dedent(PROGRAM), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._folder = Path("/proc", str(self._process.pid))
        self._seen: dict[
            str, tuple[str, float]
        ] = {}  # by thread: how often it has begun to run, and since when so often

    def begin(self) -> None:
        """Return when it has all that it waits for."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def is_quiet(self) -> bool:
        """Whether none of its threads has run for a while.

        But for one that waits for the outcomes of calls: it looks each second whether a worker was killed.
        """
        now = time.monotonic()
        running = []
        for thread in os.listdir(self._folder / "task"):
            times = (self._folder / "task" / thread / "schedstat").read_text()
            if self._seen.get(thread, ("", 0.0))[0] != times:
                self._seen[thread] = times, now
            if now - self._seen[thread][1] < QUIET_SECONDS:
                running.append(int(thread))
        assert self._process.poll() is None
        return not running or ("calls" in self.arguments and len(running) == 1 and self._process.pid not in running)

    def threads(self) -> int:
        return len(os.listdir(self._folder / "task"))

    def has_timers(self) -> bool:
        timers = self._folder / "timers"
        links = [os.readlink(one) for one in (self._folder / "fd").iterdir()]
        return any("timerfd" in link for link in links) or (timers.exists() and timers.read_text() != "")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="the system does not count how often a thread ran"
)
def test_no_thread_is_created_and_none_wakes_up_while_a_process_waits() -> None:
    ways = ("wait", "select", "poll", "epoll", "selectors", "asyncio")
    waiting = [Waiting(way) for way in ways]
    waiting += [
        Waiting(*arguments)
        for arguments in (("wait", "pool"), ("epoll", "pool", "calls"), ("asyncio", "pool", "calls"))
    ]
    try:
        for one in waiting:
            one.begin()
        until = time.monotonic() + PATIENCE
        while restless := [one.arguments for one in waiting if not one.is_quiet()]:
            assert time.monotonic() < until, f"{restless} wake up again and again"
            time.sleep(0.1)
        for one in waiting:
            # A pool's threads are its supervisor and its result handler.
            assert one.threads() == (3 if "pool" in one.arguments else 1), one.arguments
            assert not one.has_timers()
    finally:
        for one in waiting:
            one.end()

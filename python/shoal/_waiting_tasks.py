"""Queues and events in asyncio: tasks are woken through descriptors, without a thread and without a timer.

A task never has an item before it is running: it looks for itself, in the step in which it returns what it found. So a
cancelled task has taken nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from weakref import WeakValueDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from shoal import _core

    R = TypeVar("R")

# The tasks that wait for a queue or event, in the __dict__ of its handle: by event loop, and what they wait for. The
# tasks own the values, so that those of a loop which is gone go with it.
_WAITING = "_waiting_tasks"


class _Waiters:
    """The tasks of one event loop that wait for one descriptor.

    They share it, since a loop calls one function for each descriptor. It is watched while any of them is asleep, and
    until the one that was woken last has run. At most one is woken for one item; how many items there are is looked at
    anew each time the loop finds the descriptor readable, so that a wake-up which a cancelled task did not use goes to
    another one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, shared: object, descriptor: int, available: Callable[[], int]
    ) -> None:
        self._loop = loop
        self._shared = shared  # its descriptor must not become another's while it is watched
        self._descriptor = descriptor
        self._available = available
        self._process = os.getpid()
        self._asleep: deque[asyncio.Future[None]] = deque()
        self._woken = 0  # tasks that were woken and have not run since
        self._watching = False
        self._in_doubt = False

    async def sleep(self, in_front: bool) -> None:
        """Until it is this task's turn to look; in vain now and then. `in_front`: it was its turn before."""
        turn = self._loop.create_future()
        if in_front:
            self._asleep.appendleft(turn)
        else:
            self._asleep.append(turn)
        try:
            self._watch()
            await turn
        finally:
            if turn.done() and not turn.cancelled():
                self._woken -= 1
            else:
                with contextlib.suppress(ValueError):
                    self._asleep.remove(turn)
                self._watch()

    def _watch(self) -> None:
        wanted = bool(self._asleep)
        # After a fork the loop is the parent's, and what it watches is shared with the parent: hands off.
        if wanted == self._watching or self._loop.is_closed() or self._process != os.getpid():
            return
        if wanted:
            self._loop.add_reader(self._descriptor, self._wake)
        else:
            self._loop.remove_reader(self._descriptor)
        self._watching = wanted

    def _wake(self) -> None:
        wanted = self._available() - self._woken
        if wanted <= 0 and self._woken == 0:
            # Somebody else was faster; or the queue was shut down; or the descriptor is readable for nothing, which it
            # stays until somebody looks. If it still is at the loop's next turn, a task has to look.
            wanted, self._in_doubt = int(self._in_doubt), not self._in_doubt
        else:
            self._in_doubt = False
        while wanted > 0 and self._asleep:
            turn = self._asleep.popleft()
            if not turn.done():
                turn.set_result(None)
                self._woken += 1
                wanted -= 1
        if not self._asleep:
            # After those who were woken: what they wait for must not wait for this. And most wait for the next at once.
            self._loop.call_soon(self._watch)


def _waiters_for(shared: Any, kind: object, descriptor: Callable[[], int], available: Callable[[], int]) -> _Waiters:
    loop = asyncio.get_running_loop()
    waiting: WeakValueDictionary[Any, _Waiters] = shared.__dict__.setdefault(_WAITING, WeakValueDictionary())
    waiters = waiting.get((loop, kind))
    if waiters is None:
        waiters = waiting[loop, kind] = _Waiters(loop, shared, descriptor(), available)
    return waiters


async def attempt_until_done(
    queue: Any,
    attempt: Callable[[], R],
    not_yet: type[Exception],
    descriptor: Callable[[], int],
    available: Callable[[], int],
) -> R:
    """What `attempt()` returns, made anew whenever `descriptor()` polls readable as long as it raises `not_yet`."""
    # Not contextlib.suppress, which takes as long as the attempt.
    try:
        return attempt()
    except not_yet:
        pass
    waiters = _waiters_for(queue, not_yet, descriptor, available)
    in_front = False
    while True:
        await waiters.sleep(in_front)
        try:
            return attempt()
        except not_yet:
            in_front = True


async def until_set(event: _core.Event) -> None:
    """Wait until `event` is set, or was set since the call and seen so by the loop."""
    generation = event._generation()
    if event.is_set():
        return
    # All are woken at once. Each looks for itself, which also makes the descriptor true, should it be readable in vain.
    waiters = _waiters_for(event, "set", event.fileno, lambda: sys.maxsize)
    while not event.is_set() and event._generation() == generation:
        await waiters.sleep(in_front=False)

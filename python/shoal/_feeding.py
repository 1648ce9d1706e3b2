"""How the items of an iterable become tasks while the work goes on, so that it may be endless, and its items large."""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from shoal._crew import Crew
    from shoal._results import IMapIterator, MapResult

# Why no more tasks were made; see `_core.WorkQueue.submit_items`.
_ALL, _FOR_NOW, _FULL, _ELSEWHERE = range(4)


class Feeder:
    """Makes tasks of what `items` yields, as long as the job they are of has room for their results.

    Iterators over built-in containers yield at once, so whoever wants the results makes the tasks. Others may block, or
    run any code: of a `blocking` one a thread does. What is made and where it stopped is known to the native side, so
    that a signal handler may raise between any two steps here: whoever waits for results next goes on.

    The job has it, and it is given the job with each call, lest the two keep each other, and large results, in memory.
    """

    def __init__(
        self,
        crew: Crew,
        kind: int,
        func: Callable[..., Any],
        items: Iterator[Any],
        blocking: bool,
    ) -> None:
        self._crew = crew
        self._kind = kind
        self._func = func
        self._items = items
        self._blocking = blocking
        self._orders: SimpleQueue[None] = SimpleQueue()  # for the thread, to look for room
        self._has_thread = allocate_lock()  # held by it
        self._begun: SimpleQueue[None] = SimpleQueue()  # of threads

    def start(self, job: MapResult[Any] | IMapIterator[Any]) -> None:
        """Make the first tasks, or have a thread do so."""
        self._crew.expect()
        if self._blocking:
            self._start_thread(job)
        else:
            self.go_on(job)

    def go_on(self, job: MapResult[Any] | IMapIterator[Any]) -> None:
        """There may be room for more."""
        if not self._blocking and self._feed(job, at_once=False) == _FULL and not self._has_thread.locked():
            self._start_thread(job)
            self._begun.get()  # the next call is to find it
        if self._orders.empty():
            self._orders.put(None)

    def stop(self) -> None:
        """The job has ended."""
        self._orders.put(None)

    def _feed(self, job: MapResult[Any] | IMapIterator[Any], at_once: bool) -> int:
        return self._crew.submit_items(job, self._kind, self._func, self._items, at_once)

    def _start_thread(self, job: MapResult[Any] | IMapIterator[Any]) -> None:
        # Not one of threading's, whose start() does not bear a signal handler that raises.
        start_new_thread(self._run, (job,))

    def _run(self, job: MapResult[Any] | IMapIterator[Any]) -> None:
        is_first = self._has_thread.acquire(False)
        self._begun.put(None)
        if not is_first:
            return  # a signal handler has raised before one was found that was started just before
        try:
            while (why := self._feed(job, at_once=True)) != _ALL:
                if why == _FULL:
                    self._crew.wait_for_room(job)
                else:
                    self._orders.get()
        finally:
            self._has_thread.release()

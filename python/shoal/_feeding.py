"""How the items of an iterable become tasks while the work goes on, so that it may be endless, and its items large."""

from __future__ import annotations

import threading

from shoal._results import IMapIterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from shoal._crew import Crew
    from shoal._results import MapResult


class Feeder:
    """Makes tasks of what `items` yields; for an iterator of results never more than `ahead` of what was taken of it.

    Iterators over built-in containers yield at once, so whoever wants the results submits the tasks. Others may block,
    or run any code, so a thread reads them.
    """

    def __init__(
        self,
        crew: Crew,
        job: MapResult[Any] | IMapIterator[Any],
        kind: int,
        func: Callable[..., Any],
        items: Iterator[Any],
        ahead: int | None,
    ) -> None:
        self._crew = crew
        self._job = job
        self._kind = kind
        self._func = func
        self._items = items
        self._ahead = ahead
        self._thread: threading.Thread | None = None
        self._room = threading.Event()
        self._lock = threading.Lock()  # of whoever feeds

    def start(self, in_thread: bool) -> None:
        """Submit the first tasks, by a thread or at once."""
        if in_thread:
            self._start_thread()
        else:
            self.go_on()

    def go_on(self) -> None:
        """There is room for more: some results were taken, or there is no limit any more."""
        if self._thread is not None:
            self._room.set()
        elif self._lock.acquire(False):
            try:
                more = self._feed(at_once=False)
            finally:
                self._lock.release()
            if more and self._crew.is_full:
                self._start_thread()

    def lift(self) -> None:
        """Nobody will take results: go on to the end all the same."""
        if self._ahead is not None:
            self._ahead = None
            self.go_on()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="PoolFeeder", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._room.clear()
            if not self._feed(at_once=True):
                return
            if self._crew.is_full:
                self._crew.wait_for_room(self._job)
            elif self._space() <= 0:
                self._room.wait()

    def _space(self) -> int:
        if self._ahead is None or not isinstance(self._job, IMapIterator):
            return 1 << 30
        return self._ahead - (self._job._tasks_submitted - self._job._tasks_consumed)

    def _feed(self, at_once: bool) -> bool:
        """Submit as many tasks as there is room for; return whether there may be more."""
        job, crew = self._job, self._crew
        try:
            while not job._ended:
                room = self._space()
                if room <= 0:
                    self._ask_to_be_called()
                    room = self._space()
                    if room <= 0:
                        return True
                crew.expect()
                if not crew.submit_items(job, self._kind, self._func, self._items, room, at_once):
                    break
                if crew.is_full:
                    return True
        except BaseException as error:
            # Of the iterable. In a thread nobody would see it.
            if isinstance(job, IMapIterator):
                crew.fail(job, job._tasks_submitted, error)
                self._end(job._tasks_submitted + 1)
            else:
                crew.give_up(job, error)
            if not at_once and not isinstance(error, Exception):
                raise
        else:
            self._end(job._tasks_submitted)
        return False

    def _ask_to_be_called(self) -> None:
        # When half of what was ahead is taken, there is enough left to keep the workers busy meanwhile.
        if self._ahead is not None and isinstance(self._job, IMapIterator):
            self._job._next_notice = self._job._tasks_submitted - self._ahead // 2

    def _end(self, length: int) -> None:
        if isinstance(self._job, IMapIterator):
            self._job._set_length(length)
            if self._job._ended:
                self._crew.job_ended(self._job)

"""How the items of an iterable become tasks while the work goes on, so that it may be endless, and its items large."""

from __future__ import annotations

import threading

from shoal._results import IMapIterator, MapResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from shoal._crew import Crew


# Why no more tasks were made: there are no more; enough results lie there or are under way; too much is in flight.
_DONE, _NO_ROOM, _FULL = range(3)


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
        # A result that is a list has room for so many, whatever the iterable has become meanwhile.
        self._tasks = job._tasks_left if isinstance(job, MapResult) else None
        self._thread: threading.Thread | None = None
        self._asked = False  # to go on
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
        self._asked = True
        while self._thread is None and self._asked and self._lock.acquire(False):
            # Whoever finds the lock taken has asked before, and it is looked at after the release.
            try:
                self._asked = False
                if self._thread is None and self._feed(at_once=False) == _FULL:
                    self._start_thread()
            finally:
                self._lock.release()
        self._room.set()

    def stop(self) -> None:
        """The job has ended."""
        self._room.set()

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
            why = self._feed(at_once=True)
            if why == _DONE:
                return
            if why == _FULL:
                self._crew.wait_for_room(self._job)
            else:
                self._room.wait()

    def _space(self) -> int:
        if self._tasks is not None:
            return self._tasks - self._job._tasks_submitted
        if self._ahead is None or not isinstance(self._job, IMapIterator):
            return 1 << 30
        return self._ahead - (self._job._tasks_submitted - self._job._tasks_consumed)

    def _feed(self, at_once: bool) -> int:
        """Submit as many tasks as there is room for; return why no more."""
        job, crew = self._job, self._crew
        try:
            while not job._ended:
                room = self._space()
                if room <= 0:
                    if self._tasks is not None:
                        break
                    self._ask_to_be_called()
                    room = self._space()
                    if room <= 0:
                        return _NO_ROOM
                crew.expect()
                if not crew.submit_items(job, self._kind, self._func, self._items, room, at_once):
                    break
                if crew.is_full:
                    return _FULL
        except BaseException as error:
            # Of the iterable. In a thread nobody would see it.
            if self._tasks is not None:
                crew.give_up(job, error)
            else:
                crew.fail(job, job._tasks_submitted, error)
                self._end(job._tasks_submitted + 1)
            if not at_once and not isinstance(error, Exception):
                raise
        else:
            self._end(job._tasks_submitted)
        self._items = iter(())
        return _DONE

    def _ask_to_be_called(self) -> None:
        # When half of what was ahead is taken, there is enough left to keep the workers busy meanwhile.
        if self._ahead is not None and isinstance(self._job, IMapIterator):
            self._job._next_notice = self._job._tasks_submitted - self._ahead // 2

    def _end(self, length: int) -> None:
        if self._tasks is not None and length < self._tasks and not self._job._ended:
            message = f"{self._job._method}: items were removed from the iterable before all had become tasks"
            self._crew.give_up(self._job, RuntimeError(message))
        if isinstance(self._job, IMapIterator):
            self._job._set_length(length)
            if self._job._ended:
                self._crew.job_ended(self._job)

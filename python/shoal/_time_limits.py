"""How long the tasks of a pool may run."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from shoal._worker import WorkQueue

# Workers say when they begin a task; one that was just seen to begin has not said so yet.
SHORTEST_LOOK = 0.001


class TimeLimits:
    """Which tasks run too long. Used by one thread, but for `add`."""

    def __init__(self, work: WorkQueue) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._limits: dict[int, float] = {}  # by the id of an open job

    def add(self, job: Any, seconds: float) -> None:
        """Each task of `job`, which is open, may run for so long."""
        job._task_timeout = seconds
        key = id(job)
        with self._lock:  # where nothing is called, lest a signal handler come here too
            self._limits[key] = seconds

    def seconds_to_next(self, slots: Iterable[int]) -> float | None:
        """For how long nothing can be overdue; None: for ever.

        A task that nobody runs now is not overdue before the shortest limit is over.
        """
        if not self._limits:
            return None
        with self._lock:
            still = {id(job) for job in self._work.open_jobs()}
            self._limits = {job: limit for job, limit in self._limits.items() if job in still}
            wait = min(self._limits.values(), default=None)
        for _, job, _, seconds in self._running(slots):
            wait = min(wait or job._task_timeout, max(SHORTEST_LOOK, job._task_timeout - seconds))
        return wait

    def overdue(self, slots: Iterable[int]) -> list[tuple[int, Any, int]]:
        """(ticket, job, index) of what has been running for too long in these workers."""
        if not self._limits:
            return []
        return [
            (ticket, job, index) for ticket, job, index, seconds in self._running(slots) if seconds >= job._task_timeout
        ]

    def _running(self, slots: Iterable[int]) -> list[tuple[int, Any, int, float]]:
        """The same of all tasks with a limit, and for how many seconds they have been running."""
        found = []
        for slot in slots:
            running = self._work.running(slot)
            entry = None if running is None else self._work.entry(running[0], False)
            if running is not None and entry is not None and entry[0]._task_timeout > 0:
                found.append((running[0], *entry, running[1] or 0.0))
        return found

"""For how long the workers of a pool have served."""

from __future__ import annotations


class Service:
    """The times of those who have served under one number."""

    def __init__(self) -> None:
        self.starts = 0
        self._past = 0.0  # from ready to the end, of those before the present one
        self._started = 0.0
        self._ready: float | None = None

    def start(self, now: float) -> None:
        """Another process is being started."""
        self.starts += 1
        self._started, self._ready = now, None

    def ready(self, when: float) -> None:
        """Its initializer has returned."""
        self._ready = when

    def end(self, now: float) -> None:
        """It has ended."""
        self._past = self.length(now)
        self._ready = None

    @property
    def startup(self) -> float | None:
        return None if self._ready is None else self._ready - self._started

    def length(self, now: float) -> float:
        """For how long there was somebody to take tasks."""
        return self._past + (0.0 if self._ready is None else now - self._ready)

"""The error of a call whose worker died. Apart, since its base class brings half of multiprocessing with it."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool

from shoal.errors import WorkerDied

__all__ = ["BrokenProcessPool", "CallLost"]


class CallLost(WorkerDied, BrokenProcessPool):
    """The worker that ran a call of an executor has died. Nothing else is lost: the executor goes on.

    Both what Shoal's pools and what the standard library's executor raise in that case.
    """

    @classmethod
    def like(cls, error: WorkerDied) -> CallLost:
        """The same error for a future."""
        lost = cls(*error.args)
        lost.__dict__.update(error.__dict__)
        lost.__cause__ = error.__cause__
        return lost

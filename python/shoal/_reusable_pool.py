"""One pool for the whole process, kept for whoever asks next."""

from __future__ import annotations

import os
import threading

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shoal.pool import Pool

__all__ = ["get_reusable_pool"]


class _Kept:
    """The pool that is kept, and what it was made with."""

    def __init__(self, pool: Pool, options: dict[str, Any]) -> None:
        self.pool = pool
        self.options = options
        self.owner_pid = os.getpid()
        # Before the pool's own, which would leave it to complain that nobody closed it.
        self.at_exit = _stdlib.util.Finalize(None, pool.terminate, exitpriority=16)

    def is_usable(self) -> bool:
        return self.owner_pid == os.getpid() and self.pool._is_usable()


_lock = threading.Lock()
_kept: _Kept | None = None


def _forget_parents_pool() -> None:
    """In the child of a fork: the pool is the parent's, and the lock may be held by a thread that is not here."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_parents_pool)


def get_reusable_pool(processes: int | None = None, **options: Any) -> Pool:
    """The pool that this process keeps: the same one each time, as long as it fits what is asked for.

    `processes` and `options` are those of `shoal.Pool`. If `processes` is None, any number will do, and one for each CPU
    is what a new pool gets. A pool that was closed, terminated or broken is replaced. So is one that was made with
    another number or other options: it is closed, so what it has been given is still done.

    Nobody needs to close it: its workers end with the program, which does not wait for results that nobody waits for. A
    forked child that asks gets a pool of its own. May be called by any thread.

    Raises what `shoal.Pool` does.
    """
    global _kept
    with _lock:
        kept = _kept
        if kept is not None and kept.is_usable():
            if kept.options == options and processes in (None, kept.pool._processes):
                return kept.pool
            kept.pool.close()
        _kept = None
        if kept is not None and kept.owner_pid == os.getpid():
            kept.at_exit.cancel()
        from shoal.pool import Pool

        pool = Pool(processes, **options)
        _kept = _Kept(pool, options)
        return pool

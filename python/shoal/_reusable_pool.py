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
    """A pool that is kept, or that somebody still holds, and what it was made with."""

    def __init__(self, pool: Pool, options: dict[str, Any]) -> None:
        self.pool = pool
        self.options = options
        self.holders = 0
        self.owner_pid = os.getpid()
        # Before the pool's own, which would leave it to complain that nobody closed it.
        self.at_exit = _stdlib.util.Finalize(None, pool.terminate, exitpriority=16)

    def is_usable(self) -> bool:
        return self.owner_pid == os.getpid() and self.pool._is_usable()

    def close_unless_held(self) -> None:
        if self.holders == 0 and self.owner_pid == os.getpid():
            self.at_exit.cancel()
            self.pool.close()


_lock = threading.RLock()  # guards what follows; a collection of garbage may release a pool in a thread that has it
_kept: _Kept | None = None
_held: dict[int, _Kept] = {}  # by the id of the pool


def _forget_parents_pool() -> None:
    """In the child of a fork: the pools are the parent's, and the lock may be held by a thread that is not here."""
    global _lock
    _lock = threading.RLock()
    _held.clear()


os.register_at_fork(after_in_child=_forget_parents_pool)


def get_reusable_pool(processes: int | None = None, **options: Any) -> Pool:
    """The pool that this process keeps: the same one each time, as long as it fits what is asked for.

    `processes` and `options` are those of `shoal.Pool`. If `processes` is None, any number will do, and a new pool gets
    one for each CPU. A pool that was closed, terminated or broken is replaced. So is one that was made with
    another number or other options: it is closed, so what it has been given is still done.

    Nobody needs to close it: its workers end with the program, which does not wait for results that nobody waits for. A
    forked child that asks gets a pool of its own. May be called by any thread.

    Raises what `shoal.Pool` does.
    """
    with _lock:
        return _get(processes, options).pool


def hold_reusable_pool(processes: int | None = None, **options: Any) -> Pool:
    """As `get_reusable_pool`, but should it be replaced the pool takes calls until it is released so many times."""
    with _lock:
        kept = _get(processes, options)
        kept.holders += 1
        _held[id(kept.pool)] = kept
        return kept.pool


def release_reusable_pool(pool: Pool) -> None:
    """Say that `pool`, from `hold_reusable_pool`, is not needed any more by one who has it."""
    with _lock:
        kept = _held.get(id(pool))
        if kept is None:
            return  # the parent's, in a forked child
        kept.holders -= 1
        if kept.holders == 0:
            del _held[id(pool)]
            if kept is not _kept:
                kept.close_unless_held()


def _are_equal(some: dict[str, Any], others: dict[str, Any]) -> bool:
    try:
        return some == others
    except Exception:
        return False  # such as arrays, that do not compare to one truth


def _get(processes: int | None, options: dict[str, Any]) -> _Kept:
    global _kept
    kept = _kept
    if kept is not None:
        if kept.is_usable() and _are_equal(kept.options, options) and processes in (None, kept.pool._processes):
            return kept
        _kept = None
        kept.close_unless_held()
    from shoal.pool import Pool

    _kept = _Kept(Pool(processes, **options), options)
    return _kept

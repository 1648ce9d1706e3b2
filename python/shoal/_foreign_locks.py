"""How a `Condition` uses a lock that is not one of Shoal's."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ForeignLock:
    """A lock of the standard library's (of threads, of processes, a proxy of a manager's), or one with their methods.

    Asked for what only some of them can tell: `_semlock` is what locks of `multiprocessing` have, `_is_owned` and
    `_release_save` those of `threading`; any other has at least `acquire` and `release`.
    """

    def __init__(self, lock: Any) -> None:
        for name in ("acquire", "release", "__enter__", "__exit__"):
            if not hasattr(lock, name):
                raise TypeError(f"Condition() takes a lock, which has acquire, release and is a context; got {lock!r}")
        self._lock = lock

    def is_mine(self) -> bool:
        """Whether this thread holds it; of a lock that cannot tell, whether anybody does."""
        lock = self._lock
        if hasattr(lock, "_semlock"):
            return bool(lock._semlock._is_mine())
        if hasattr(lock, "_is_owned"):
            return bool(lock._is_owned())
        if lock.acquire(False):
            lock.release()
            return False
        return True

    def release_all(self) -> Any:
        """Release it as often as it was acquired. Return what `acquire_again` needs."""
        lock = self._lock
        if hasattr(lock, "_release_save"):
            return lock._release_save()
        times = lock._semlock._count() if hasattr(lock, "_semlock") else 1
        for _ in range(times):
            lock.release()
        return times

    def acquire_again(self, saved: Any) -> None:
        lock = self._lock
        if hasattr(lock, "_acquire_restore"):
            lock._acquire_restore(saved)
        else:
            for _ in range(saved):
                lock.acquire()

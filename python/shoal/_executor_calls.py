"""What an executor has under way: its calls, and the pool that they go to."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, ClassVar, TypeVar

    from shoal._results import ApplyResult
    from shoal.pool import Pool

    T = TypeVar("T")
else:
    T = object  # type variables are for type checkers

# How many calls for each worker the pool is given, so that a worker which is done finds the next without this process.
AHEAD = 16


class Future(concurrent.futures.Future[T]):
    """The outcome of a call, to be: a `concurrent.futures.Future`."""

    _handed: ApplyResult[Any] | None = None  # what the pool knows of it

    def cancel(self) -> bool:
        """Cancel the call if no worker has begun it. Returns whether it is cancelled, now or before."""
        if super().cancel() or self.cancelled():
            return True
        handed = self._handed
        return handed is not None and handed._withdraw()

    def cancel_running(self) -> bool:
        """Cancel the call if it has not ended, by killing its worker if it runs; other calls go on.

        Returns whether it is cancelled, now or before.
        """
        if super().cancel() or self.cancelled():
            return True
        handed = self._handed
        return handed is not None and handed.cancel()

    def cancelled(self) -> bool:
        """Whether the call was cancelled, before or while it ran."""
        return super().cancelled() or (
            self.done() and isinstance(super().exception(0), concurrent.futures.CancelledError)
        )

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The error of the call, or None if it has returned, waiting for its end.

        Raises CancelledError if it was cancelled, TimeoutError after `timeout` seconds.
        """
        error = super().exception(timeout)
        if isinstance(error, concurrent.futures.CancelledError):
            raise error
        return error


class Calls:
    """The calls of one executor, in the order in which they came.

    The pool, which is made with the first call, has only as many as keep its workers busy. The others wait here, where
    cancelling one costs nothing, and an executor that is forgotten finds them.
    """

    _unfinished: ClassVar[set[Calls]] = set()
    _interpreter_ends: ClassVar[bool] = False

    def __init__(self, size: int, **options: Any) -> None:
        self._size = size
        self._options = options
        self._owner_pid = os.getpid()
        # Reentrant: a collection of garbage may call `close` in a thread that is just here.
        self._lock = threading.RLock()
        self._waiting: deque[tuple[Future[Any], Callable[..., Any], Sequence[Any], Mapping[str, Any] | None]] = deque()
        self._handed: dict[Future[Any], bool] = {}  # of calls that the pool has -> whether their outcome is there
        self._settling: list[int] = []  # idents of threads that call callbacks of futures
        self._handing_out = False  # by some thread, which goes on until there is nothing to hand out
        self._closed = False
        self._ended = ""  # why calls fail that the pool had when its workers were ended
        self._broken: BaseException | None = None
        self._pool: Pool | None = None
        self._finished = threading.Event()

    def add(
        self, future: Future[Any], fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any] | None
    ) -> None:
        """Call `fn(*args, **kwargs)`; with `kwargs` None, `[fn(*each) for each in args]`."""
        if self._owner_pid != os.getpid():
            raise RuntimeError("an executor cannot be used in a child of the process that made it")
        with self._lock:
            if self._broken is not None:
                from shoal._broken import BrokenProcessPool

                raise BrokenProcessPool(str(self._broken)) from self._broken
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if Calls._interpreter_ends:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._pool is None:
                self._pool = self._make_pool()
                Calls._unfinished.add(self)
            self._waiting.append((future, fn, args, kwargs))
        self._hand_out()

    def _make_pool(self) -> Pool:
        from shoal.pool import Pool

        class WorkersOnDemand(Pool):
            # Forks among threads are to be avoided, so all that are wanted are made before the pool has any.
            _first_workers = None if self._options["context"].get_start_method() == "fork" else 1

        return WorkersOnDemand(self._size, **self._options)

    def workers(self) -> list[Any]:
        return [] if self._pool is None else self._pool._pool

    # The end

    def close(self, cancel_waiting: bool = False) -> None:
        """Take no more calls; when the last is done the workers end."""
        if self._owner_pid != os.getpid():
            return
        waiting, handed = [], []
        with self._lock:
            self._closed = True
            if cancel_waiting:
                waiting, handed = [future for future, *_ in self._waiting], list(self._handed)
                self._waiting.clear()
        for future in waiting:
            if future.cancel():
                future.set_running_or_notify_cancel()
        for future in reversed(handed):  # the last ones first: workers get to the others meanwhile
            future.cancel()
        self._hand_out()

    def join(self) -> None:
        """Wait until the last call is done and the workers have ended."""
        pool = self._pool
        if self._owner_pid != os.getpid() or pool is None:
            return
        if threading.get_ident() in self._settling:
            raise RuntimeError("cannot wait for the executor in a callback of one of its futures")
        self._finished.wait()
        pool.join()

    def end_workers(self, how: str) -> None:
        """End the workers by calling their method `how`. Calls that they have fail."""
        self._ended = "the executor's workers were ended by its program before this was done"
        self.close(cancel_waiting=True)
        pool = self._pool
        if pool is not None and self._owner_pid == os.getpid():
            for process in pool._pool:
                with contextlib.suppress(ValueError):  # it has ended just now
                    getattr(process, how)()
            pool.terminate()

    @classmethod
    def finish_all(cls) -> None:
        """Wait for the calls of all executors, and let none take any more."""
        cls._interpreter_ends = True
        unfinished = [calls for calls in list(cls._unfinished) if calls._owner_pid == os.getpid()]
        for calls in unfinished:
            calls.close()
        for calls in unfinished:
            calls.join()

    # How calls get to the pool

    def _hand_out(self) -> None:
        """Give the pool what it has room for. One thread at a time does, and calls others without holding the lock."""
        with self._lock:
            if self._handing_out:
                return
            self._handing_out = True
        try:
            while self._hand_out_next():
                pass
        except BaseException:
            self._handing_out = False
            raise

    def _hand_out_next(self) -> bool:
        with self._lock:
            if len(self._handed) >= self._size * (1 + AHEAD) or not self._waiting:
                self._handing_out = False
                self._finish_if_done()
                return False
            future, fn, args, kwargs = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                return True
            self._handed[future] = False
            handed, broken, pool = len(self._handed), self._broken, self._pool
        if broken is not None:
            self._settle(future, False, broken)
            return True
        assert pool is not None
        try:
            if handed > len(pool._pool):
                with contextlib.suppress(OSError):  # then those that there are do it
                    pool._crew.grow()
            if kwargs is None:
                result: ApplyResult[Any] = pool.starmap_async(fn, args, len(args))
            else:
                result = pool.apply_async(fn, args, kwargs)
            future._handed = result
            result._when_done(lambda result: self._take(future, result))
        except BaseException as error:
            self._settle(future, False, error)
            if not isinstance(error, Exception):
                raise
        return True

    def _take(self, future: Future[Any], result: ApplyResult[Any]) -> None:
        """The pool has an outcome."""
        self._settle(future, result._succeeded, result._value)
        self._hand_out()

    def _settle(self, future: Future[Any], ok: bool, value: Any) -> None:
        with self._lock:
            if self._handed.get(future, True):
                return  # an interrupt has settled it before
            self._handed[future] = True
            self._settling.append(threading.get_ident())
        try:
            if ok:
                future.set_result(value)
            else:
                future.set_exception(self._error_of_future(value))
        finally:
            future._handed = None  # it would keep the pool
            # Not before: the executor is not finished until callbacks have run.
            with self._lock:
                self._settling.remove(threading.get_ident())
                del self._handed[future]

    def _error_of_future(self, error: BaseException) -> BaseException:
        from shoal.errors import ProcessError, WorkerDied

        assert self._pool is not None
        if not isinstance(error, ProcessError):
            return error
        from shoal._broken import BrokenProcessPool, CallLost

        if self._ended:
            return BrokenProcessPool(self._ended)
        if not isinstance(error, WorkerDied):
            return error
        if error is not self._pool._crew._broken:
            return CallLost.like(error)
        self._broken = error
        broken = BrokenProcessPool(str(error))
        broken.__cause__ = error
        return broken

    def _finish_if_done(self) -> None:
        if self._closed and not self._waiting and not self._handed:
            Calls._unfinished.discard(self)
            if self._pool is not None:
                self._pool.close()
            self._finished.set()

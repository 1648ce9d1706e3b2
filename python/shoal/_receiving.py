"""Who receives the outcomes of a pool's tasks.

Whoever waits for a result receives for all: one thread fewer between a worker and the caller. Of several that wait one
receives, and tells the others: see `_core.WorkQueue.wait_for`. If nobody waits, the *result handler* does, a thread
that otherwise sleeps; it also calls the callbacks.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shoal._results import ApplyResult
    from shoal._worker import WorkQueue


class ResultHandler:
    """The thread that receives for jobs that no thread waits for. All methods may be called by any thread.

    `failed` is called in it with its name and what it failed with, should it do so.
    """

    def __init__(self, work: WorkQueue, failed: Callable[[str, BaseException], None]) -> None:
        self._work = work
        self._orders: SimpleQueue[bool] = SimpleQueue()  # to look for something to do
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()  # to make
        self._asleep = True
        self._ending = False
        self._ended = False
        self.thread = threading.Thread(target=self._run, args=(failed,), name="PoolResultHandler", daemon=True)

    @property
    def is_asleep(self) -> bool:
        return self._asleep

    def wake(self) -> None:
        """Let it look for something to do."""
        if self._asleep:
            self._asleep = False
            self._orders.put(True)

    def end(self) -> None:
        """Let it end when there is nothing left to do for it."""
        self._ending = True
        self._asleep = False
        self._orders.put(True)

    def call_back(self, job: ApplyResult[Any]) -> None:
        """The outcome of `job` is there, and somebody is to be called with it, by this thread while there is one."""
        self._call(job._call_back)

    def tell(self, job: ApplyResult[Any]) -> None:
        """`job` has ended; this thread, while there is one, tells those that want to know."""
        self._call(job._tell_now)

    def _call(self, call: Callable[[], object]) -> None:
        self._calls.put(call)
        self.wake()
        if self._ended:
            self._make_calls()

    def _run(self, failed: Callable[[str, BaseException], None]) -> None:
        try:
            self._serve()
        except BaseException as error:
            failed("result handler", error)
        self._ended = True
        self._make_calls()

    def _serve(self) -> None:
        while True:
            self._make_calls()
            if self._is_wanted():
                self._work.receive_unattended()
            elif self._ending:
                return
            else:
                self._asleep = True
                # Whoever had something to be received looked at _asleep afterwards, or finds it true.
                if self._is_wanted() or not self._calls.empty() or self._ending:
                    self._asleep = False
                else:
                    self._orders.get()

    def _make_calls(self) -> None:
        while True:
            try:
                call = self._calls.get(False)
            except Empty:
                return
            call()
            del call  # which has a result
            if self._work.attending:
                self._work.wake()  # somebody may be waiting for just this

    def _is_wanted(self) -> bool:
        return self._work.expects_something and not self._work.attending and not self._ending

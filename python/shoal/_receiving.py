"""Who receives the outcomes of a pool's tasks.

Whoever waits for a result receives for all: one thread fewer between a worker and the caller. Of several that wait one
receives, and tells the others. If nobody waits, the *result handler* receives, a thread that otherwise sleeps; it also
calls the callbacks.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from shoal._results import ApplyResult, IMapIterator
    from shoal._worker import WorkQueue


class Receiver:
    """Lets threads wait for jobs, and receives for jobs that no thread waits for.

    `lost` is called with the slots of workers whose loss has come out, in whatever thread. All methods may be called by
    any thread.
    """

    def __init__(self, work: WorkQueue, lost: Callable[[Iterable[int]], None]) -> None:
        self._work = work
        self._lost = lost
        self._receiving = threading.Lock()  # whoever has it receives
        self._changed = threading.Condition()  # of those who would like to
        self._room = threading.Condition()
        self._orders: SimpleQueue[bool] = SimpleQueue()  # for the handler: to go on, or to end
        self._called_back: SimpleQueue[ApplyResult[Any]] = SimpleQueue()
        self._asleep = True  # the handler
        self._ending = False
        self._ended = False
        self.handler = threading.Thread(target=self._handle_results, name="PoolResultHandler", daemon=True)

    # For threads that wait

    def wait_for(self, job: ApplyResult[Any] | IMapIterator[Any], timeout: float | None) -> bool:
        """Wait until `job` is ready, at most `timeout` seconds. Return whether others may have to be received for."""
        work = self._work
        deadline = None if timeout is None else time.monotonic() + timeout
        work.attend()
        try:
            while not job._is_ready:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if self._receiving.acquire(False):
                    try:
                        lost = work.receive(job, left)
                    finally:
                        self._receiving.release()
                        if work.followers:
                            self.tell_followers()
                    if lost:
                        self._lost(lost)
                else:
                    self._follow(job, left)
                if left == 0.0:
                    break
        finally:
            deserted = work.leave()
        return deserted

    def _follow(self, job: ApplyResult[Any] | IMapIterator[Any], timeout: float | None) -> None:
        with self._changed:
            self._work.followers += 1
            try:
                if not job._is_ready and self._receiving.locked():
                    self._changed.wait(timeout)
            finally:
                self._work.followers -= 1

    def tell_followers(self) -> None:
        """Some jobs have ended, or nobody receives any more."""
        with self._changed:
            self._changed.notify_all()

    def look(self) -> None:
        """Receive what is there, unless somebody does anyway."""
        if self._receiving.acquire(False):
            try:
                lost = self._work.receive(None, 0)
            finally:
                self._receiving.release()
                if self._work.followers:
                    self.tell_followers()
            if lost:
                self._lost(lost)

    def wait_for_room(self, job: Any) -> None:
        """Wait until there is room for more tasks, or `job` has ended."""
        with self._room:
            while self._work.notice_room() and not job._ended and not self._ending:
                self._room.wait()

    def tell_room(self) -> None:
        """There are fewer bytes in flight, or will never be."""
        with self._room:
            self._room.notify_all()

    # The result handler

    def wake(self) -> None:
        """Let the handler look for something to do."""
        if self._asleep:
            self._asleep = False
            self._orders.put(True)

    @property
    def is_asleep(self) -> bool:
        return self._asleep

    def end(self) -> None:
        """Let the handler end when there is nothing left to do for it."""
        self._ending = True
        self._asleep = False
        self._orders.put(True)
        self.tell_room()

    def call_back(self, job: ApplyResult[Any]) -> None:
        """The outcome of `job` is there, and somebody is to be called with it, by the handler while there is one."""
        self._called_back.put(job)
        self.wake()
        if self._ended:
            self._call_back_all()

    def _handle_results(self) -> None:
        while True:
            self._call_back_all()
            if self._is_wanted():
                self._receive()
            elif self._ending:
                self._ended = True
                self._call_back_all()
                return
            else:
                self._asleep = True
                # Whoever had something to be received looked at _asleep afterwards, or finds it true.
                if self._is_wanted() or not self._called_back.empty() or self._ending:
                    self._asleep = False
                else:
                    self._orders.get()

    def _call_back_all(self) -> None:
        while True:
            try:
                job = self._called_back.get(False)
            except Empty:
                return
            job._call_back()
            if self._work.attending:
                self._work.wake()  # somebody may be waiting for just this
                self.tell_followers()

    def _is_wanted(self) -> bool:
        return self._work.expects_something and not self._work.attending and not self._ending

    def _receive(self) -> None:
        with self._receiving:
            lost = self._work.receive(None, None)
        if self._work.followers:
            self.tell_followers()
        if lost:
            self._lost(lost)

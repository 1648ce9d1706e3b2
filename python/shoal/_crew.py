"""The tasks of a pool, and the thread that looks after its workers.

The *supervisor* waits for the death of workers and has it reported through the work queue, so that the news comes after
everything the dead worker had finished. When it has come out (see `_receiving`), the supervisor decides what becomes of
the task that died with the worker; nothing else ever starts or buries a worker once that thread runs.
"""

from __future__ import annotations

import os
import threading
import time
import weakref

from shoal import _core, _stdlib
from shoal._exit_codes import how_it_ended
from shoal._functions import FunctionPickler
from shoal._receiving import ResultHandler
from shoal._results import name_of
from shoal._staff import GRACE_SECONDS, Staff, Worker
from shoal._time_limits import TimeLimits
from shoal._worker import WorkQueue
from shoal.errors import ProcessError, TaskTimeoutError, WorkerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from shoal._insights import Insights
    from shoal._results import ApplyResult, IMapIterator
    from shoal._worker_options import WorkerOptions

RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

# How long outcomes may lie there before the result handler receives them, if nobody waits for them and nobody is to be
# called: the caller is mostly about to wait.
UNATTENDED_SECONDS = 0.01
# Workers that may end in a row before they are ready, none by an initializer that raised, until the pool is given up:
# with an initializer, which probably ended them, and without one.
STILLBORN_LIMIT = 3
STILLBORN_LIMIT_WITHOUT_INITIALIZER = 32
LONGEST_DELAY_SECONDS = 1.0
# What poll() takes is limited; time limits are not.
LONGEST_WAIT_SECONDS = 86400.0


class Bell:
    """An eventfd: readable from `ring` until `silence`."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def ring(self) -> None:
        os.eventfd_write(self._descriptor, 1)

    def silence(self) -> None:
        os.eventfd_read(self._descriptor)


class Crew:
    """Runs tasks in `size` worker processes, each of which is replaced when it ends.

    `first` of them are started at once (None: all); `grow` starts one more. All methods may be called by any thread.
    """

    def __init__(
        self,
        context: Any,
        make_process: Callable[..., Any],
        size: int,
        options: WorkerOptions,
        first: int | None = None,
    ) -> None:
        self._options = options
        self._functions = FunctionPickler(context.get_start_method())
        self._work = WorkQueue(size + 1)  # the last slot belongs to no worker: its "death" only wakes a receiver
        self._work.weak_crew = weakref.ref(self)
        self._handler = ResultHandler(self._work, self._cannot_go_on)
        self._staff = Staff(context, make_process, size, options, self._work)
        self._stillborn = 0
        self._state = RUN
        self._broken: WorkerDied | None = None
        self._vacant: dict[int, float] = {}  # slots that get a worker later -> when
        self._ends: dict[int, Exception] = {}  # tickets of tasks whose worker is killed -> what they fail with
        self._limits = TimeLimits(self._work)
        self._patience_ends: float | None = None  # when the supervisor sees that somebody receives, if it watches
        self._lock = self._staff.lock  # guards _state as well, so that nobody is hired after terminate()
        self._bell = Bell()  # tells the supervisor to look again
        self._work.bell = self._bell.fileno()
        self.supervisor = threading.Thread(target=self._supervise, name="PoolSupervisor", daemon=True)
        self.result_handler = self._handler.thread
        try:
            for slot in range(size if first is None else first):
                self._staff.hire(slot)
            self.result_handler.start()
            self.supervisor.start()
        except BaseException:
            self._state = TERMINATE
            self._handler.end()
            self._staff.dismiss()
            self._staff.join()
            raise

    # Calls

    def submit(self, job: Any, index: int, kind: int, func: Any, arguments: Any) -> None:
        """Let a worker run task `index` of `job`; what keeps it from being sent is its outcome."""
        try:
            self._work.submit(job, index, kind, func, arguments)
        except Exception as error:
            self._work.fail(job, index, self._work.refusal or error)

    def submit_items(self, job: Any, kind: int, func: Any, items: Iterator[Any], at_once: bool) -> int:
        """The same for the next tasks of `job`, made of `items`. Return why no more."""
        return self._work.submit_items(job, kind, func, items, at_once)

    def fail(self, job: Any, index: int, error: BaseException) -> None:
        """Task `index` of `job` has failed."""
        self._work.fail(job, index, error)

    def job_ended(self, job: Any) -> None:
        """Call it where a job has ended otherwise than by an outcome."""
        try:
            if job._progress is not None:
                job._progress.close()
        finally:
            self._work.ended(job)
            if job._feeder is not None:
                job._feeder.stop()
            self._work.wake()
            if job._is_ready:
                job._tell_now()

    def call_back(self, job: ApplyResult[Any]) -> None:
        """The outcome of `job`, which is to be called back, is there."""
        self._handler.call_back(job)
        self._work.wake()  # it may be the handler that receives

    def tell(self, job: ApplyResult[Any]) -> None:
        """`job` has ended, of which others want to be told, but not in this thread."""
        self._handler.tell(job)

    def wait_for_room(self, job: Any) -> None:
        """Wait until less is in flight, or `job` has ended."""
        self._work.wait_for_room(job)

    def wait_for(self, job: ApplyResult[Any] | IMapIterator[Any], timeout: float | None) -> None:
        """Wait until `job` is ready, at most `timeout` seconds."""
        self._work.wait_for(job, timeout)

    def look(self) -> None:
        """Deliver what outcomes there are."""
        self._work.look()

    def expect(self) -> None:
        """Something was submitted that nobody may be waiting for: soon somebody has to receive."""
        if self._handler.is_asleep:
            self._work.expect()

    def expect_now(self) -> None:
        """Something was submitted whose outcome is to be told: from now on somebody has to receive."""
        self._handler.wake()

    def limit(self, job: Any, timeout: float) -> None:
        """The tasks of `job` may run for `timeout` seconds."""
        self._work.open(job)
        self._limits.add(job, timeout)
        self._bell.ring()

    def open(self, job: Any) -> None:
        """`job` has begun; it may have no task yet."""
        self._work.open(job)

    def open_jobs(self) -> list[Any]:
        """Those that have begun and not ended."""
        return self._work.open_jobs()

    def tasks_in_flight(self, job: Any) -> list[int]:
        """The indexes of the tasks of `job` that have no outcome."""
        entries = [self._work.entry(ticket, False) for ticket in self._work.tickets_of(job)]
        return [entry[1] for entry in entries if entry is not None]

    def give_up(self, job: Any, error: BaseException | None = None) -> None:
        """Nobody wants `job` any more: what is pending is not run; what is running goes on. It fails with `error`."""
        self._abort(job, error or ProcessError("the call was interrupted"))  # first, lest another interrupt prevent it
        for ticket in self._work.tickets_of(job):
            self._work.withdraw(ticket)

    def cancel(self, job: Any, killing: bool) -> bool:
        """Give up `job` unless it has ended: what is pending is not run, what is running is killed, or goes on."""
        from concurrent.futures import CancelledError

        # Without the lock: a signal handler may come in between and wait for what the supervisor does.
        if job._ended or self._state == TERMINATE:
            return False
        tickets = self._work.tickets_of(job)
        if not killing and (len(tickets) != 1 or not self._work.withdraw(tickets[0])[0]):
            return False
        job._cancelled = True  # before others see the end
        # In another thread the last outcome may have come just now.
        cancelled: bool = job._abort(CancelledError())
        job._cancelled = cancelled
        if cancelled:
            self.job_ended(job)
        for ticket in tickets if killing else ():
            self._work.call_off(ticket)  # which lets the supervisor kill the worker that is at it
        return cancelled

    def close(self) -> None:
        """End when all jobs have."""
        with self._lock:
            if self._state == RUN:
                self._state = CLOSE
        self._work.close_when_idle()
        self._bell.ring()
        self._handler.wake()

    def terminate(self) -> None:
        """End now. Returns when all workers and threads have ended, but for the thread that calls."""
        error: BaseException = ProcessError("the pool was terminated before this was done")
        if _stdlib.util.is_exiting():
            # Only daemon threads can be waiting, or begin something. They end without a word: CPython may abort where
            # one is printing a traceback while it takes stderr down.
            self._work.refusal = error = SystemExit()
        with self._lock:
            self._state = TERMINATE
            self._staff.dismiss()
        self._bell.ring()
        # The threads may be held up by a worker that is stopped at the queue; then only its end frees them.
        if self.supervisor is not threading.current_thread():
            self.supervisor.join(GRACE_SECONDS)
        self._staff.end()
        self._work.close()
        self._abort_all(error)
        self._handler.end()
        self._work.wake()
        for thread in (self.supervisor, self.result_handler):
            if thread is not threading.current_thread():
                thread.join()

    def join(self) -> None:
        for job in self._work.open_jobs():
            job._lift()  # whoever waits here takes no results
        self._handler.wake()
        self.supervisor.join()
        self.result_handler.join()
        self._staff.join()

    def insights(self) -> Insights:
        """What the workers have done."""
        return self._staff.insights()

    @property
    def workers(self) -> list[Worker]:
        """Those that were started and whose end is not known."""
        return self._staff.present()

    # For the native part

    def _called_back(self, job: ApplyResult[Any]) -> None:
        self._handler.call_back(job)

    def _retry(self, job: Any, index: int, error: BaseException) -> bool:
        return job._retries is not None and job._retries.try_again(job, index, error)

    def _by_value(self, what: Any, refusal: Exception) -> bytes:
        return self._functions.by_value(what, refusal)

    def _sendable(self, func: Any) -> Any:
        return self._functions.sendable(func)

    # Workers

    def grow(self) -> bool:
        """Start one more worker; return False if there are as many as there may be."""
        with self._lock:
            slot = self._staff.untried()
            if slot is None or self._state != RUN or self._broken is not None:
                return False
            self._staff.hire(slot)
        self._bell.ring()
        return True

    def _is_needed(self) -> bool:
        return self._broken is None and (self._state == RUN or (self._state == CLOSE and self._work.open_count > 0))

    def _replace(self, slot: int) -> None:
        with self._lock:
            if not self._is_needed():
                return
            try:
                self._staff.hire(slot)
            except Exception as error:
                if self._staff.present():
                    self._vacant[slot] = time.monotonic() + LONGEST_DELAY_SECONDS  # fewer workers, until then
                    return
                lost = WorkerDied(f"the pool has no worker left and cannot start one: {error}", worker=slot)
                lost.__cause__ = error
                self._break(lost)

    # The supervisor

    def _supervise(self) -> None:
        try:
            while self._state != TERMINATE and not self._is_over():
                self._look_after_workers(self._seconds_to_next_look())
        except BaseException as error:
            self._cannot_go_on("supervisor", error)
            self._staff.end()
        if self._state != TERMINATE:
            closed = ProcessError("the pool was closed before this was done")
            self._abort_all(self._broken or closed, calling_back=True)
            self._handler.end()
            self._work.wake()

    def _is_over(self) -> bool:
        """Whether there are no workers any more, and never will be."""
        return (self._state == CLOSE or self._broken is not None) and not self._staff.present() and not self._vacant

    def _look_after_workers(self, timeout: float | None) -> None:
        watched = {worker.process.sentinel: worker for worker in self._staff.present() if not worker.reported}
        for sentinel in _core.wait([*watched, self._bell], timeout):
            if sentinel is self._bell:
                self._bell.silence()
            else:
                worker = watched[sentinel]
                worker.reported = True
                self._work.lost(worker.slot)
                self._let_somebody_receive()
        for slot in self._work.take_lost():
            if self._state != TERMINATE:
                self._bury(slot)
        if self._work.take_condemned():
            for slot in self._work.condemned():
                self._staff.kill(slot)  # it does nothing any more
        now = time.monotonic()
        for slot in [slot for slot, when in self._vacant.items() if when <= now or not self._is_needed()]:
            del self._vacant[slot]
            self._replace(slot)
        for overdue in self._limits.overdue(worker.slot for worker in self._staff.present()):
            self._kill(*overdue)
        if self._work.watching:
            if self._patience_ends is None:
                self._patience_ends = now + UNATTENDED_SECONDS
            elif now >= self._patience_ends:
                self._patience_ends = None
                self._work.watching = False
                self._let_somebody_receive()

    def _let_somebody_receive(self) -> None:
        if not self._work.attending and self._work.expects_something:
            self._handler.wake()

    def _seconds_to_next_look(self) -> float | None:
        looks = [when - time.monotonic() for when in self._vacant.values()]
        if self._patience_ends is not None:
            looks.append(self._patience_ends - time.monotonic())
        limit = self._limits.seconds_to_next(worker.slot for worker in self._staff.present())
        if limit is not None:
            looks.append(limit)
        return max(0.0, min(*looks, LONGEST_WAIT_SECONDS)) if looks else None

    # Death

    def _kill(self, ticket: int, job: Any, index: int) -> None:
        """A task has run for too long: have its worker killed, as every one is whose task is called off."""
        slot = self._work.call_off(ticket)[1]
        worker = None if slot is None else self._staff.workers[slot]
        if worker is None:
            return
        pid = worker.process.pid
        self._ends[ticket] = TaskTimeoutError(
            f"{job.describe(index)} was running in worker {worker.slot} (pid {pid}) for longer than its timeout of "
            f"{job._task_timeout:g} s, so that worker was killed. Other tasks go on.",
            timeout=job._task_timeout,
            pid=pid,
            worker=worker.slot,
            task=job.first_item(index),
        )

    def _bury(self, slot: int) -> None:
        pid, exitcode, was_ready, initializer_error = self._staff.bury(slot)
        ticket = self._work.reclaim(slot)
        if ticket is not None:
            self._fail(ticket, slot, pid, exitcode)
        delay = 0.0
        if was_ready:
            self._stillborn = 0
        elif self._state != TERMINATE:
            delay = self._bury_unready(slot, pid, exitcode, initializer_error)
        if delay:
            self._vacant[slot] = time.monotonic() + delay
        else:
            self._replace(slot)

    def _fail(self, ticket: int, slot: int, pid: int, exitcode: int) -> None:
        # It is forgotten last: what it was made of is kept for tasks that have no outcome, to be run again.
        found = self._work.entry(ticket, False)
        end = self._ends.pop(ticket, None)
        if found is None:
            return
        job, index = found
        if end is None:
            how = how_it_ended(exitcode, self._options.max_memory)
            message = (
                f"{job.describe(index)} was running in worker {slot} (pid {pid}) when it {how}. Other tasks go on."
            )
            end = WorkerDied(message, pid=pid, exitcode=exitcode, worker=slot, task=job.first_item(index))
        again = job._ended or (job._retries_wanted and self._retry(job, index, end))
        self._work.entry(ticket, True)
        if not again:
            self.fail(job, index, end)

    def _bury_unready(self, slot: int, pid: int, exitcode: int, cause: BaseException | None) -> float:
        """A worker has ended before it was ready. Return how many seconds later another is to be started."""
        self._stillborn += 1
        initializer = self._options.initializer
        limit = STILLBORN_LIMIT_WITHOUT_INITIALIZER if initializer is None else STILLBORN_LIMIT
        if cause is None and self._stillborn < limit:
            return 0.0 if self._stillborn == 1 else min(LONGEST_DELAY_SECONDS, 0.01 * 2 ** min(self._stillborn, 8))
        name = name_of(initializer)
        if cause is not None:
            import traceback

            how = f"its initializer {name} raised {traceback.format_exception_only(type(cause), cause)[-1].strip()}"
        else:
            during = "" if initializer is None else f" or was in its initializer {name}"
            how = f"it {how_it_ended(exitcode, self._options.max_memory)} before it was ready{during}"
        error = WorkerDied(
            f"worker {slot} (pid {pid}) of the pool could not start: {how}. "
            "The pool runs no more tasks, since another worker would fare the same.",
            pid=pid,
            exitcode=exitcode,
            worker=slot,
        )
        error.__cause__ = cause
        self._break(error)
        return 0.0

    # The end

    def _break(self, error: WorkerDied) -> None:
        """No task will run any more: all jobs fail with `error`, and those to come will."""
        with self._lock:
            self._broken = self._broken or error
            self._staff.dismiss()
        self._abort_all(self._broken, calling_back=True)

    def _cannot_go_on(self, thread: str, error: BaseException) -> None:
        """One of the pool's threads has failed: its memory was overwritten, or there is none left."""
        broken = WorkerDied(f"the pool cannot go on: its {thread} failed: {error!r}")
        broken.__cause__ = error
        self._break(broken)

    def _abort(self, job: Any, error: BaseException) -> None:
        job._abort(error)
        self.job_ended(job)

    def _abort_all(self, error: BaseException, calling_back: bool = False) -> None:
        """All jobs fail with `error`, and those that begin from now on."""
        self._work.refusal = self._work.refusal or error
        for job in self._work.open_jobs():
            if calling_back and job._is_called_back:
                if job._fail(error):
                    self._handler.call_back(job)
                self.job_ended(job)
            else:
                self._abort(job, error)

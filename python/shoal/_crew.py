"""The workers of a pool and the two threads that look after them.

The *supervisor* waits for the death of workers and has it reported through the work queue, so that the news comes after
everything the dead worker had finished. The *result handler* takes outcomes and such news from the queue, one after the
other; so only it decides what became of a task, and nothing else ever starts or buries a worker once the threads run.
"""

from __future__ import annotations

import os
import threading
import time
from queue import Empty

from shoal import _stdlib
from shoal._exit_codes import how_it_ended
from shoal._functions import FunctionPickler, Portable
from shoal._results import Job
from shoal._worker import WorkQueue, run
from shoal.errors import ProcessError, WorkerDied
from shoal.queues import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shoal._worker_options import WorkerOptions

RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

# How long a worker may take to end after SIGTERM before it is killed.
GRACE_SECONDS = 5.0
# Workers that may end in a row before they are ready, none by an initializer that raised, until the pool is given up.
STILLBORN_LIMIT = 3


class Worker:
    """A worker process and what is known of it."""

    def __init__(self, slot: int, process: Any) -> None:
        self.slot = slot
        self.process = process
        self.reported = False  # its end has been, or is about to be, sent through the work queue


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

    All methods may be called by any thread.
    """

    def __init__(
        self,
        context: Any,
        make_process: Callable[..., Any],
        size: int,
        options: WorkerOptions,
    ) -> None:
        self._context = context
        self._make_process = make_process
        self._options = options
        self._functions = FunctionPickler(context.get_start_method())
        self._work = WorkQueue(size + 1)
        self._wake_slot = size  # the last slot belongs to no worker: its "death" only wakes the result handler
        self._reports: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()
        self._ready: set[int] = set()  # pids of workers that have finished their initializer
        self._stillborn = 0
        self._state = RUN
        self._broken: WorkerDied | None = None
        # (job, index) of tasks without an outcome -> a cell for the ticket, which is empty until that is known
        self._outstanding: dict[tuple[int, int], list[int | None]] = {}
        self._lock = threading.RLock()  # guards _state, and `workers` against being refilled after terminate()
        self.jobs: dict[int, Job] = {}
        self.workers: list[Worker | None] = [None] * size
        self._bell = Bell()  # tells the supervisor to look again
        try:
            for slot in range(size):
                self._hire(slot)
        except BaseException:
            for worker in self._present():
                worker.process.terminate()
            for worker in self._present():
                worker.process.join()
            raise
        self.supervisor = threading.Thread(target=self._supervise, name="PoolSupervisor", daemon=True)
        self.result_handler = threading.Thread(target=self._handle_results, name="PoolResultHandler", daemon=True)
        self.supervisor.start()
        self.result_handler.start()

    # For the pool

    def submit(self, job: Job, index: int, kind: int, func: Any, args: Any, kwds: Any) -> None:
        """Let a worker run task `index` of `job`; what keeps it from being sent is its outcome."""
        if self._broken is not None:
            job._set(index, False, self._broken)
            return
        key = (job._job, index)
        ticket: list[int | None] = [None]
        self._outstanding[key] = ticket
        try:
            ticket[0] = self._send(job._job, index, kind, func, args, kwds)
        except Exception as error:
            self._outstanding.pop(key, None)
            job._set(index, False, error)
        except BaseException:
            self._outstanding.pop(key, None)
            job._abort(ProcessError("the call was interrupted while its tasks were handed out"))
            raise

    def _send(self, job: int, index: int, kind: int, func: Any, args: Any, kwds: Any) -> int:
        task = (job, index, kind, self._functions.sendable(func), args, kwds)
        try:
            return self._work.submit(task)
        except Exception:
            return self._work.submit(Portable(task, self._functions))

    def forget(self, job: int) -> None:
        """`job` has ended."""
        if self.jobs.pop(job, None) is not None and not self.jobs and self._state != RUN:
            self._wake()

    def close(self) -> None:
        """End when all jobs have."""
        with self._lock:
            if self._state == RUN:
                self._state = CLOSE
        self._wake()

    def terminate(self) -> None:
        """End now. Returns when all workers and threads have ended, but for the thread that calls."""
        with self._lock:
            self._state = TERMINATE
            for worker in self._present():
                if worker.process.exitcode is None:
                    worker.process.terminate()
        self._wake()
        self._bell.ring()
        for thread in (self.supervisor, self.result_handler):
            if thread is not threading.current_thread():
                thread.join()
        self._dismiss()
        self._work.close()
        self._abort_all(ProcessError("the pool was terminated before this was done"))
        self._outstanding.clear()

    def join(self) -> None:
        self.supervisor.join()
        self.result_handler.join()
        for worker in self._present():
            worker.process.join()

    # Workers

    def _present(self) -> list[Worker]:
        return [worker for worker in self.workers if worker is not None]

    def _hire(self, slot: int) -> None:
        args = (slot, self._work, self._reports, self._options)
        process = self._make_process(self._context, target=run, args=args)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        self._options.apply_to(process, slot)
        process.start()
        self.workers[slot] = Worker(slot, process)

    def _dismiss(self) -> None:
        """End all workers, by force if need be."""
        workers = self._present()
        for worker in workers:
            if worker.process.exitcode is None:
                worker.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def _replace(self, slot: int) -> None:
        with self._lock:
            if self._state == TERMINATE or self._broken is not None or (self._state == CLOSE and not self.jobs):
                return
            try:
                self._hire(slot)
            except Exception as error:
                if self._present():
                    return  # fewer workers, then
                lost = WorkerDied(f"the pool has no worker left and cannot start one: {error}", worker=slot)
                lost.__cause__ = error
                self._break(lost)
        self._bell.ring()

    # The supervisor

    def _supervise(self) -> None:
        while True:
            watched = {worker.process.sentinel: worker for worker in self._present() if not worker.reported}
            for sentinel in _stdlib.connection.wait([*watched, self._bell]):
                if sentinel is self._bell:
                    self._bell.silence()
                    if self._state == TERMINATE or (self._state == CLOSE and not self._present()):
                        return
                else:
                    worker = watched[sentinel]
                    worker.reported = True
                    self._work.lost(worker.slot)

    # The result handler

    def _wake(self) -> None:
        self._work.lost(self._wake_slot)

    def _handle_results(self) -> None:
        try:
            while self._state != TERMINATE:
                outcome = self._work.next()
                if isinstance(outcome, tuple):
                    self._deliver(*outcome)
                elif outcome is not None and outcome != self._wake_slot:
                    self._bury(outcome)
                outcome = None
                if self._state == CLOSE and not self.jobs:
                    self._work.close()
                    if not self._present():
                        break
        except BaseException as error:
            broken = WorkerDied(f"the pool cannot go on: its result handler failed: {error!r}")
            broken.__cause__ = error
            self._break(broken)
            self._state = TERMINATE
            self._dismiss()
        self._bell.ring()

    def _deliver(self, ticket: int, readable: bool, outcome: Any) -> None:
        if not readable:
            self._settle(ticket, False, outcome)
            return
        job, index, ok, value = outcome
        if job is None:
            self._settle(ticket, ok, value)  # the worker could not read the task, so it does not know which one it was
            return
        self._outstanding.pop((job, index), None)
        waiting = self.jobs.get(job)
        if waiting is not None:
            waiting._set(index, ok, value)

    def _settle(self, ticket: int, ok: bool, value: Any) -> None:
        """The outcome of a task of which only the ticket is known."""
        found = self._find(ticket)
        if found is not None:
            self._deliver(ticket, True, (*found, ok, value))

    def _find(self, ticket: int) -> tuple[int, int] | None:
        deadline = time.monotonic() + 5
        while True:
            unknown = False
            # Tasks end roughly in the order of their tickets: this mostly finds it among the first.
            for key, cell in list(self._outstanding.items()):
                if cell[0] == ticket:
                    return key
                unknown = unknown or cell[0] is None
            if not unknown or time.monotonic() > deadline:
                return None
            time.sleep(0.001)  # a thread is just between sending the task and writing down its ticket

    def _bury(self, slot: int) -> None:
        worker = self.workers[slot]
        assert worker is not None
        process = worker.process
        process.join()
        pid, exitcode = process.pid, process.exitcode
        initializer_error = self._read_reports().get(pid)
        ticket = self._work.reclaim(slot)
        self.workers[slot] = None
        if ticket is not None:
            self._fail(ticket, slot, pid, exitcode)
        if pid in self._ready:
            self._ready.discard(pid)
            self._stillborn = 0
        elif self._state != TERMINATE:
            self._bury_unready(slot, pid, exitcode, initializer_error)
        process.close()
        self._replace(slot)
        self._bell.ring()

    def _read_reports(self) -> dict[int, BaseException]:
        failed: dict[int, BaseException] = {}
        while True:
            try:
                pid, error = self._reports.get(False)
            except Empty:
                return failed
            if error is None:
                self._ready.add(pid)
            else:
                failed[pid] = error

    def _fail(self, ticket: int, slot: int, pid: int, exitcode: int) -> None:
        found = self._find(ticket)
        job = None if found is None else self.jobs.get(found[0])
        if found is None or job is None:
            return
        place = f"worker {slot} (pid {pid})"
        what = job.describe(found[1])
        how = how_it_ended(exitcode, self._options.max_memory)
        message = f"{what} was running in {place} when it {how}. Other tasks go on."
        error = WorkerDied(message, pid=pid, exitcode=exitcode, worker=slot, task=job.first_item(found[1]))
        self._deliver(ticket, True, (*found, False, error))

    def _bury_unready(self, slot: int, pid: int, exitcode: int, cause: BaseException | None) -> None:
        self._stillborn += 1
        if cause is None and self._stillborn < STILLBORN_LIMIT:
            return
        name = getattr(self._options.initializer, "__qualname__", repr(self._options.initializer))
        if cause is not None:
            import traceback

            how = f"its initializer {name} raised {traceback.format_exception_only(type(cause), cause)[-1].strip()}"
        else:
            during = "" if self._options.initializer is None else f" or was in its initializer {name}"
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

    # The end

    def _break(self, error: WorkerDied) -> None:
        """No task will run any more: all jobs fail with `error`, and those to come will."""
        with self._lock:
            self._broken = self._broken or error
            for worker in self._present():
                if worker.process.exitcode is None:
                    worker.process.terminate()
        self._abort_all(self._broken)

    def _abort_all(self, error: BaseException) -> None:
        for job in list(self.jobs.values()):
            job._abort(error)

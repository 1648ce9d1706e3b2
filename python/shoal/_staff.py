"""The worker processes of a pool: who is there, since when, and whether they are ready."""

from __future__ import annotations

import threading
import time
from queue import Empty

from shoal._service import Service
from shoal._worker import WorkQueue, run
from shoal.queues import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shoal._insights import Insights, WorkerInsight
    from shoal._worker_options import WorkerOptions

# How long a worker may take to end after SIGTERM before it is killed.
GRACE_SECONDS = 5.0


class Worker:
    """A worker process and what is known of it."""

    def __init__(self, slot: int, process: Any) -> None:
        self.slot = slot
        self.process = process
        self.reported = False  # its end has been, or is about to be, sent through the work queue


class Staff:
    """The workers of a work queue, one for each slot at most. All methods may be called by any thread.

    `lock` guards what is there against being changed between two looks at it.
    """

    def __init__(
        self, context: Any, make_process: Callable[..., Any], size: int, options: WorkerOptions, work: WorkQueue
    ) -> None:
        self._context = context
        self._make_process = make_process
        self._options = options
        self._work = work
        self._reports: SimpleQueue[tuple[int, float, BaseException | None]] = SimpleQueue()
        self._ready: set[int] = set()  # pids of workers that have finished their initializer
        self._failed_starts: dict[int, BaseException] = {}  # pids of those that have not -> what it raised
        self._services = [Service() for _ in range(size)]
        self.lock = threading.RLock()
        self.workers: list[Worker | None] = [None] * size

    def present(self) -> list[Worker]:
        """Those that were started and not buried."""
        return [worker for worker in self.workers if worker is not None]

    def untried(self) -> int | None:
        """A slot that nobody has been hired for yet; None: there is none."""
        return next((slot for slot, service in enumerate(self._services) if service.starts == 0), None)

    def hire(self, slot: int) -> None:
        """Start a worker. Raises what starting a process raises."""
        args = (slot, self._work, self._reports, self._options)
        process = self._make_process(self._context, target=run, args=args)
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = True
        self._options.apply_to(process, slot)
        self._services[slot].start(time.monotonic())
        process.start()
        self.workers[slot] = Worker(slot, process)

    def dismiss(self) -> None:
        """Ask all workers to end."""
        for worker in self.present():
            if worker.process.exitcode is None:
                worker.process.terminate()

    def end(self) -> None:
        """The same, and see to it, by force if need be."""
        self.dismiss()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.present():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def kill(self, slot: int) -> None:
        """End this worker, if it is there still."""
        with self.lock:
            worker = self.workers[slot]
            if worker is not None and worker.process.exitcode is None:
                worker.process.kill()

    def join(self) -> None:
        """Wait for the end of those that are there."""
        for worker in self.present():
            worker.process.join()

    def bury(self, slot: int) -> tuple[int, int, bool, BaseException | None]:
        """The worker in this slot has ended: its pid, its exit code, whether it was ready, what its initializer raised.

        The slot is empty then.
        """
        worker = self.workers[slot]
        assert worker is not None
        worker.process.join()
        pid, exitcode = worker.process.pid, worker.process.exitcode
        self._read_reports()
        with self.lock:
            self._services[slot].end(time.monotonic())
            self.workers[slot] = None
            was_ready = pid in self._ready
            self._ready.discard(pid)
            error = self._failed_starts.pop(pid, None)
        worker.process.close()
        return pid, exitcode, was_ready, error

    def _read_reports(self) -> None:
        with self.lock:
            slots = {worker.process.pid: worker.slot for worker in self.present()}
            while True:
                try:
                    pid, when, error = self._reports.get(False)
                except Empty:
                    return
                except Exception:
                    continue  # it cannot be unpickled here
                if error is not None:
                    self._failed_starts[pid] = error
                    continue
                self._ready.add(pid)
                if pid in slots:
                    self._services[slots[pid]].ready(when)

    def insights(self) -> Insights:
        """What the workers have done."""
        from shoal import _insights

        with self.lock:
            self._read_reports()
            return _insights.Insights(self._insight(slot, _insights.WorkerInsight) for slot in range(len(self.workers)))

    def _insight(self, slot: int, record: type[WorkerInsight]) -> WorkerInsight:
        tasks, idle, bytes_in, bytes_out = self._work.account(slot)
        service, worker = self._services[slot], self.workers[slot]
        return record(
            worker=slot,
            pid=None if worker is None else worker.process.pid,
            restarts=max(0, service.starts - 1),
            tasks=tasks,
            busy=max(0.0, service.length(time.monotonic()) - idle),
            idle=idle,
            startup=service.startup,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
        )

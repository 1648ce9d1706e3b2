"""shoal.JoinableQueue: task_done and join."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def test_join_returns_when_every_item_is_done() -> None:
    jobs: shoal.JoinableQueue[int] = shoal.JoinableQueue()
    jobs.join()
    jobs.put_many(range(3))
    joined = threading.Event()

    def wait() -> None:
        jobs.join()
        joined.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    for _ in range(2):
        jobs.get()
        jobs.task_done()
    assert not joined.wait(0.05)
    jobs.get()
    assert not joined.is_set()
    jobs.task_done()
    assert joined.wait(30)
    waiter.join()


def test_counting_too_many_as_done_is_an_error() -> None:
    jobs: shoal.JoinableQueue[int] = shoal.JoinableQueue()
    with pytest.raises(ValueError, match=r"^task_done\(\) called too many times$"):
        jobs.task_done()
    jobs.put(1)
    jobs.task_done()  # as in multiprocessing, nobody asks whether it was taken
    with pytest.raises(ValueError, match="too many times"):
        jobs.task_done()
    assert jobs.get() == 1


def test_workers_in_other_processes_do_the_jobs(context: Any) -> None:
    jobs = context.JoinableQueue()
    assert isinstance(jobs, shoal.JoinableQueue)
    workers = [context.Process(target=work, args=(jobs,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for job in range(100):
        jobs.put(job)
    jobs.join()
    assert jobs.empty()
    jobs.shutdown()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0


def work(jobs: Any) -> None:
    for _ in jobs:
        jobs.task_done()


def test_it_is_a_queue_with_all_that_queues_have() -> None:
    jobs: shoal.JoinableQueue[str] = shoal.JoinableQueue(2, ctx=shoal.get_context("fork"))
    assert isinstance(jobs, shoal.Queue)
    jobs.put("a")
    jobs.put("b")
    assert jobs.full()
    assert jobs.get_many(2) == ["a", "b"]
    plain: Any = shoal.Queue()
    assert not hasattr(plain, "task_done")
    assert not hasattr(plain, "join")


def test_immediate_shutdown_counts_what_it_drops_as_done() -> None:
    jobs: shoal.JoinableQueue[int] = shoal.JoinableQueue()
    jobs.put_many(range(10))
    jobs.get()
    jobs.shutdown(immediate=True)
    joined = threading.Thread(target=jobs.join)
    joined.start()
    joined.join(0.05)
    assert joined.is_alive()  # for the one that was taken
    jobs.task_done()
    joined.join(30)
    assert not joined.is_alive()


def test_join_runs_signal_handlers() -> None:
    class Enough(Exception):  # noqa: N818
        pass

    def handle(number: int, frame: Any) -> None:
        raise Enough

    jobs: shoal.JoinableQueue[int] = shoal.JoinableQueue()
    jobs.put(1)
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        timer.start()
        with pytest.raises(Enough):
            jobs.join()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_processes_killed_while_they_work_do_not_wedge_join(eventually: Callable[..., None]) -> None:
    jobs: shoal.JoinableQueue[int] = shoal.JoinableQueue()
    jobs.put_many(range(20_000))
    for _ in range(10):
        worker = shoal.get_context("fork").Process(target=work_on_lease, args=(jobs,))
        left = jobs.qsize()
        worker.start()
        eventually(lambda left=left: jobs.qsize() < left or left == 0)
        worker.kill()
        worker.join()
    waiter = shoal.get_context("fork").Process(target=jobs.join)
    waiter.start()
    waiter.kill()
    waiter.join()
    jobs.shutdown()
    work_on_lease(jobs)
    joined = threading.Thread(target=jobs.join)
    joined.start()
    joined.join(30)
    assert not joined.is_alive()


def work_on_lease(jobs: Any) -> None:
    with contextlib.suppress(shoal.ShutDown):
        while True:
            # An item that was counted, and whose lease was not acknowledged, is there once more.
            with jobs.get(lease=True), contextlib.suppress(ValueError):
                jobs.task_done()

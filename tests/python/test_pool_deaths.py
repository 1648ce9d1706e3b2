"""What an error of a pool says of the task, the worker, and its end."""

from __future__ import annotations

import os
import pickle
import re
import signal
import sys
from typing import Any

import pytest
import shoal
from shoal._exit_codes import how_it_ended, in_bytes


def end_by(number: int) -> None:
    """Be killed by a signal, or exit with the status that is as far below zero."""
    if number > 0:
        os.kill(os.getpid(), number)
    sys.exit(-number)


def end_at_five(number: int, how: int = signal.SIGKILL) -> int:
    if number == 5:
        end_by(how)
    return number


class Parser:
    def __call__(self, number: int) -> int:
        return end_at_five(number)

    def parse(self, number: int) -> int:
        return end_at_five(number)


def death_in(call: Any) -> shoal.WorkerDied:
    with pytest.raises(shoal.WorkerDied) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("how", "number", "exitcode", "words"),
    [
        (signal.SIGKILL, signal.SIGKILL, -9, "was killed by SIGKILL; perhaps the machine ran out of memory"),
        (signal.SIGTERM, signal.SIGTERM, -15, "was killed by SIGTERM"),
        (signal.SIGRTMIN + 3, 37, -37, "was killed by signal 37"),
        (-3, None, 3, "ended the process with exit status 3"),
        (0, None, 0, "ended the process with exit status 0"),
    ],
)
def test_it_tells_how_the_worker_ended(how: int, number: int | None, exitcode: int, words: str) -> None:
    with shoal.Pool(1) as pool:
        died = death_in(lambda: pool.apply(end_by, (how,)))
    assert (died.signal, died.exitcode) == (number, exitcode)
    assert f"when it {words}. Other tasks go on." in str(died)


def test_a_signal_has_its_name() -> None:
    with shoal.Pool(1) as pool:
        died = death_in(lambda: pool.apply(end_by, (signal.SIGKILL,)))
    assert died.signal is signal.SIGKILL


def test_it_tells_the_task_the_worker_and_the_process(context: Any) -> None:
    with context.Pool(2) as pool:
        died = death_in(lambda: pool.map(end_at_five, range(8), chunksize=1))
    assert (died.task, died.worker in (0, 1)) == (5, True)
    expected = rf"task 5 of map\(end_at_five, \.\.\.\) was running in worker {died.worker} \(pid {died.pid}\) when it "
    assert re.match(expected, str(died))


def test_a_task_is_told_by_its_first_item_and_its_function() -> None:
    with shoal.Pool(2) as pool:
        for call, task, what in [
            (lambda: pool.apply(end_at_five, (5,)), 0, "the task apply(end_at_five, ...)"),
            (
                lambda: pool.map(end_at_five, range(8), 3),
                3,
                "the chunk of map(end_at_five, ...) that begins with task 3",
            ),
            (lambda: pool.starmap(end_at_five, [(5,)], 1), 0, "task 0 of starmap(end_at_five, ...)"),
            (lambda: list(pool.imap(end_at_five, range(8))), 5, "task 5 of imap(end_at_five, ...)"),
            (lambda: pool.map(Parser().parse, [1, 5], 1), 1, "task 1 of map(Parser.parse, ...)"),
            (lambda: pool.map(Parser(), [1, 5], 1), 1, "task 1 of map(<"),
        ]:
            died = death_in(call)
            assert died.task == task
            assert str(died).startswith(what)


def test_a_copy_has_all_of_it() -> None:
    died = shoal.WorkerDied("it died", pid=3, exitcode=-9, worker=1, task=5)
    copy = pickle.loads(pickle.dumps(died))
    assert (str(copy), copy.pid, copy.exitcode, copy.worker, copy.task, copy.signal) == ("it died", 3, -9, 1, 5, 9)
    slow = pickle.loads(pickle.dumps(shoal.TaskTimeoutError("it took too long", timeout=1.5, pid=3, worker=1, task=5)))
    assert (str(slow), slow.timeout, slow.pid, slow.worker, slow.task) == ("it took too long", 1.5, 3, 1, 5)


def test_the_errors_are_those_that_programs_catch() -> None:
    assert issubclass(shoal.WorkerDied, shoal.ProcessError)
    assert issubclass(shoal.TaskTimeoutError, shoal.TimeoutError)
    assert issubclass(shoal.TaskTimeoutError, TimeoutError)


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (0, "ended the process with exit status 0"),
        (1, "ended the process with exit status 1; perhaps it lacked memory (its limit was 2 GiB)"),
        (-signal.SIGKILL, "was killed by SIGKILL; perhaps the machine ran out of memory (its limit was 2 GiB)"),
        (-signal.SIGABRT, "was killed by SIGABRT; perhaps it lacked memory (its limit was 2 GiB)"),
        (-signal.SIGTERM, "was killed by SIGTERM"),
    ],
)
def test_it_tells_the_limit_that_the_worker_had(exitcode: int, words: str) -> None:
    assert how_it_ended(exitcode, 2 << 30) == words


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (900, "900 bytes"),
        (1024, "1 KiB"),
        (1536 << 10, "1.5 MiB"),
        (1023 << 20, "1023 MiB"),
        (2 << 30, "2 GiB"),
        (3 << 50, "3072 TiB"),
    ],
)
def test_bytes_are_readable(number: int, text: str) -> None:
    assert in_bytes(number) == text

"""What is done about tasks that do not end well, or not soon: time limits, cancelling, retries; and back-pressure."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal


@pytest.fixture(params=["fork", "spawn", "forkserver"], scope="module")
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    with shoal.get_context(request.param).Pool(2) as made:
        yield made


def square(number: int) -> int:
    return number * number


def sleep_if_odd(number: int) -> int:
    if number % 2 == 1:
        time.sleep(60)
    return number


def die_until(path: str, times: int) -> int:
    """Counts its calls in a file, and kills its process in the first `times` of them."""
    with open(path, "a") as calls:
        calls.write(".")
    if os.path.getsize(path) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.path.getsize(path)


def fail_until(path: str, times: int) -> int:
    with open(path, "a") as calls:
        calls.write(".")
    if os.path.getsize(path) <= times:
        raise ConnectionError("not yet")
    return os.path.getsize(path)


def touch_and_sleep(path: str) -> None:
    with open(path, "w"):
        pass
    time.sleep(60)


def touch(path: str) -> None:
    with open(path, "w"):
        pass


# Time limits


def test_a_task_that_runs_too_long_fails_and_the_pool_goes_on(pool: Any) -> None:
    began = time.monotonic()
    with pytest.raises(shoal.TaskTimeoutError, match=r"sleep.*longer than its timeout of 0\.2 s") as caught:
        pool.apply(time.sleep, (60,), timeout=0.2)
    assert time.monotonic() - began < 30
    assert caught.value.timeout == 0.2
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.worker in (0, 1)
    assert pool.map(square, range(10)) == [number * number for number in range(10)]


def test_only_the_tasks_that_run_too_long_fail(pool: Any) -> None:
    results = pool.imap(sleep_if_odd, range(4), timeout=1.5)  # a new worker has to import this file
    for number in range(4):
        if number % 2 == 0:
            assert next(results) == number
        else:
            with pytest.raises(shoal.TaskTimeoutError) as caught:
                next(results)
            assert caught.value.task == number


def test_time_spent_waiting_for_a_worker_does_not_count(pool: Any) -> None:
    results = [pool.apply_async(time.sleep, (0.2,), timeout=1.5) for _ in range(16)]
    for result in results:
        result.get(30)


def test_a_limit_of_the_pool_is_that_of_all_its_calls() -> None:
    with shoal.Pool(1, timeout=0.2) as pool:
        with pytest.raises(shoal.TaskTimeoutError):
            pool.apply(time.sleep, (60,))
        with pytest.raises(shoal.TaskTimeoutError):
            pool.starmap(time.sleep, [(60,)])
        assert pool.apply(sleep_if_odd, (2,), timeout=20) == 2


def test_the_default_chunk_size_of_map_is_one_with_a_limit() -> None:
    with shoal.Pool(2, timeout=0.3) as pool:
        with pytest.raises(shoal.TaskTimeoutError):
            pool.map(sleep_if_odd, [1])
        # In chunks of 5, each would be too long.
        assert pool.map(time.sleep, [0.1] * 40) == [None] * 40


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_limit_that_cannot_be_is_refused(pool: Any, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        pool.apply(square, (1,), timeout=timeout)


# Cancelling


def test_a_running_task_can_be_cancelled(pool: Any, tmp_path: Any, eventually: Callable[..., None]) -> None:
    path = tmp_path / "begun"
    result = pool.apply_async(touch_and_sleep, (str(path),))
    eventually(path.exists, "the task's beginning")
    assert result.cancel()
    assert result.cancelled()
    assert result.ready()
    with pytest.raises(concurrent.futures.CancelledError):
        result.get(30)
    assert pool.map(square, range(100), 1) == list(map(square, range(100)))


def test_a_pending_task_that_is_cancelled_never_runs(tmp_path: Any) -> None:
    path = tmp_path / "ran"
    with shoal.Pool(1) as pool:
        blocking = pool.apply_async(time.sleep, (0.3,))
        pending = pool.apply_async(touch, (str(path),))
        assert pending._withdraw()
        assert pending.cancelled()
        blocking.get(30)
        assert pool.apply(square, (3,)) == 9
    assert not path.exists()


def test_withdrawing_a_running_task_does_nothing(tmp_path: Any, eventually: Callable[..., None]) -> None:
    path = tmp_path / "begun"
    with shoal.Pool(1) as pool:
        result = pool.apply_async(touch_and_sleep, (str(path),))
        eventually(path.exists, "the task's beginning")
        assert not result._withdraw()
        assert not result.cancelled()
        assert not result.ready()
        assert result.cancel()


def test_what_has_ended_cannot_be_cancelled(pool: Any) -> None:
    result = pool.apply_async(square, (3,))
    assert result.get(30) == 9
    assert not result.cancel()
    assert not result.cancelled()
    assert result.get() == 9


def test_a_map_can_be_cancelled(pool: Any) -> None:
    result = pool.map_async(sleep_if_odd, range(100), 1)
    assert result.cancel()
    assert result.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        result.get(30)
    assert pool.map(square, range(10)) == list(map(square, range(10)))


def test_an_iterator_can_be_cancelled(pool: Any) -> None:
    results = pool.imap(square, itertools.count())
    assert next(results) == 0
    assert results.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        for _ in results:
            pass
    assert pool.map(square, range(10)) == list(map(square, range(10)))


def test_who_waits_is_told_of_a_cancellation(pool: Any) -> None:
    result = pool.apply_async(time.sleep, (60,))
    threading.Timer(0.2, result.cancel).start()
    with pytest.raises(concurrent.futures.CancelledError):
        result.get(30)


def test_cancelling_one_by_one_loses_nothing_else(pool: Any) -> None:
    results = [pool.apply_async(square, (number,)) for number in range(2000)]
    cancelled = {number for number in range(0, 2000, 3) if results[number].cancel()}
    for number, result in enumerate(results):
        if number in cancelled:
            assert result.cancelled()
        else:
            assert result.get(60) == number * number


# Retries


def test_a_task_whose_worker_died_is_run_again(pool: Any, tmp_path: Any) -> None:
    assert pool.apply(die_until, (str(tmp_path / "calls"), 2), retries=2) == 3


def test_retries_come_to_an_end(pool: Any, tmp_path: Any) -> None:
    path = tmp_path / "calls"
    with pytest.raises(shoal.WorkerDied):
        pool.apply(die_until, (str(path), 100), retries=2)
    assert path.read_text() == "..."


def test_tasks_of_a_map_are_retried_one_by_one(pool: Any, tmp_path: Any) -> None:
    arguments = [(str(tmp_path / f"calls{number}"), number % 3) for number in range(4)]
    assert pool.starmap(die_until, arguments, retries=2) == [number % 3 + 1 for number in range(4)]
    arguments = [(str(tmp_path / f"more{number}"), number % 2) for number in range(4)]
    assert list(pool.imap(call_die_until, arguments, retries=1)) == [number % 2 + 1 for number in range(4)]


def call_die_until(arguments: tuple[str, int]) -> int:
    return die_until(*arguments)


def test_exceptions_are_answers_unless_they_are_to_be_retried(pool: Any, tmp_path: Any) -> None:
    path = tmp_path / "calls"
    with pytest.raises(ConnectionError):
        pool.apply(fail_until, (str(path), 1), retries=5)
    assert path.read_text() == "."
    assert pool.apply(fail_until, (str(tmp_path / "more"), 3), retries=3, retry_on=ConnectionError) == 4


def test_a_task_that_ran_too_long_is_retried_if_asked(pool: Any, tmp_path: Any) -> None:
    with pytest.raises(shoal.TaskTimeoutError):
        pool.apply(time.sleep, (60,), timeout=0.2, retries=1)
    path = tmp_path / "calls"
    # Several, for new workers have to import this file first, in time.
    assert pool.apply(sleep_once, (str(path),), timeout=1.5, retries=5, retry_on=shoal.TaskTimeoutError) == 2


def sleep_once(path: str) -> int:
    with open(path, "a") as calls:
        calls.write(".")
    if os.path.getsize(path) == 1:
        time.sleep(60)
    return os.path.getsize(path)


@pytest.mark.parametrize(("keywords", "error"), [({"retries": -1}, ValueError), ({"retry_on": 3}, TypeError)])
def test_retries_that_cannot_be_are_refused(pool: Any, keywords: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="retr"):
        pool.apply(square, (1,), **keywords)


# Back-pressure


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
def test_an_endless_iterable_is_read_as_results_are_taken(pool: Any, method: str) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    results = getattr(pool, method)(square, numbers(), buffersize=50)
    for taken in range(1, 301):
        next(results)
        assert read <= taken + 51
    results.cancel()


def test_results_that_nobody_takes_do_not_keep_join_from_ending() -> None:
    with shoal.Pool(2) as pool:
        results = pool.imap(square, iter(range(500)), buffersize=10)
        more = pool.imap_unordered(square, range(500), buffersize=10)
        pool.close()
        pool.join()
        assert list(results) == list(map(square, range(500)))
        assert sorted(more) == list(map(square, range(500)))


def length_once_there_is(path: str, block: bytes) -> int:
    while not os.path.exists(path):
        time.sleep(0.01)
    return len(block)


def test_arguments_in_flight_are_few_if_they_are_long(
    pool: Any, tmp_path: Any, eventually: Callable[..., None]
) -> None:
    path = tmp_path / "go on"
    read = 0

    def arguments() -> Iterator[tuple[str, bytes]]:
        nonlocal read
        while read < 40:
            read += 1
            yield str(path), bytes(4 << 20)

    result = pool.starmap_async(length_once_there_is, [*arguments()], 1)
    assert not result.ready()
    read = 0
    more = pool.imap(call_length_once_there_is, arguments())
    path.touch()
    assert list(more) == result.get(30) == [4 << 20] * 40
    path.unlink()
    read = 0
    more = pool.imap(call_length_once_there_is, arguments())
    eventually(lambda: read >= 4, "the first tasks")
    assert not more._is_ready
    assert read <= 6
    path.touch()
    assert list(more) == [4 << 20] * 40


def call_length_once_there_is(arguments: tuple[str, bytes]) -> int:
    return length_once_there_is(*arguments)


@pytest.mark.parametrize("buffersize", [0, -1])
def test_a_buffer_for_nothing_is_refused(pool: Any, buffersize: int) -> None:
    with pytest.raises(ValueError, match="buffersize"):
        pool.imap(square, [1], buffersize=buffersize)

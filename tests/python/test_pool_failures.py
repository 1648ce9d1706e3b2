"""shoal.Pool when something goes wrong: every task has an outcome, and the pool goes on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal


def square(number: int) -> int:
    return number * number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def record_and_die_at_three(number: int) -> int:
    done.put(number)
    return die_at_three(number)


done: Any = None


def share(queue: Any) -> None:
    global done
    done = queue


def raise_lookup_error(number: int) -> int:
    if number == 3:
        raise LookupError(f"no {number} here")
    return number


def leave_by(how: str) -> None:
    if how == "sys.exit":
        sys.exit(5)
    if how == "os._exit":
        os._exit(6)
    if how == "KeyboardInterrupt":
        raise KeyboardInterrupt
    if how == "GeneratorExit":
        raise GeneratorExit
    os.kill(os.getpid(), signal.SIGUSR2)


def return_unpicklable(_: Any) -> Any:
    return lambda: None


def raise_unpicklable(_: Any) -> None:
    error = RuntimeError("with baggage")
    error.baggage = lambda: None  # type: ignore[attr-defined]
    raise error


class NeedsTwoArguments(Exception):  # noqa: N818
    """Pickles well and unpickles badly, as many exceptions in the wild do."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raise_hard_to_unpickle(_: Any) -> None:
    raise NeedsTwoArguments("one", "two")


class FailsToUnpickle:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


class FailsToPickle:
    def __reduce__(self) -> Any:
        raise TypeError("a FailsToPickle cannot be pickled")


def broken_initializer(text: str) -> None:
    raise LookupError(text)


def dying_initializer() -> None:
    os._exit(9)


def ignore_sigterm_and_sleep(ready: Any = None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    done.put("deaf")
    time.sleep(60)


def sleep_long(_: Any) -> None:
    done.put("asleep")
    time.sleep(60)


def test_a_killed_worker_fails_its_task_and_the_rest_of_the_map_is_done(
    context: Any, eventually: Callable[..., None]
) -> None:
    seen = context.Queue()
    with context.Pool(2, share, (seen,)) as pool:
        with pytest.raises(shoal.WorkerDied) as caught:
            pool.map(record_and_die_at_three, range(10), chunksize=1)
        assert sorted(seen.get(timeout=30) for _ in range(10)) == list(range(10))
        assert pool.map(square, range(10)) == [number * number for number in range(10)]
        eventually(lambda: len(pool._pool) == 2, "the new worker")
    died = caught.value
    assert isinstance(died, shoal.ProcessError)
    assert (died.exitcode, died.task) == (-signal.SIGKILL, 3)
    assert died.pid is not None
    assert died.worker in (0, 1)
    text = f"task 3 of map(record_and_die_at_three, ...) was running in worker {died.worker} (pid {died.pid}) when it"
    assert str(died).startswith(f"{text} was killed by SIGKILL")


def test_in_imap_only_the_killed_task_raises() -> None:
    with shoal.Pool(2) as pool:
        results = pool.imap(die_at_three, range(6))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(shoal.WorkerDied, match=r"task 3 of imap\(die_at_three"):
            next(results)
        assert list(results) == [4, 5]
        outcomes = list(collect(pool.imap_unordered(die_at_three, range(6))))
    assert sorted(outcome for outcome in outcomes if isinstance(outcome, int)) == [0, 1, 2, 4, 5]
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, int)] == [shoal.WorkerDied]


def collect(results: Iterator[Any]) -> Iterator[Any]:
    while True:
        try:
            outcome = next(results)
        except (StopIteration, shoal.WorkerDied) as error:
            outcome = error
        if isinstance(outcome, StopIteration):
            return
        yield outcome


def test_a_chunk_dies_as_a_whole_and_says_where_it_begins() -> None:
    with shoal.Pool(2) as pool, pytest.raises(shoal.WorkerDied, match="begins with task 2 ") as caught:
        pool.map(die_at_three, range(8), chunksize=2)
    assert caught.value.task == 2


@pytest.mark.parametrize(
    ("how", "exitcode"),
    [("sys.exit", 5), ("os._exit", 6), ("KeyboardInterrupt", 1), ("GeneratorExit", 1), ("a signal", -signal.SIGUSR2)],
)
def test_a_task_that_ends_its_process_fails_and_does_not_hang(how: str, exitcode: int) -> None:
    with shoal.Pool(1) as pool:
        errors: list[BaseException] = []
        result = pool.apply_async(leave_by, (how,), error_callback=errors.append)
        with pytest.raises(shoal.WorkerDied, match="apply_async") as caught:
            result.get(30)
        assert caught.value.exitcode == exitcode
        assert errors == [caught.value]
        assert pool.apply(square, (4,)) == 16


def test_many_workers_may_die_one_after_the_other() -> None:
    with shoal.Pool(2) as pool:
        results = [pool.apply_async(die_at_three, (number % 4,)) for number in range(40)]
        outcomes = []
        for result in results:
            try:
                outcomes.append(result.get(30))
            except shoal.WorkerDied:  # noqa: PERF203
                outcomes.append("died")
        assert outcomes == [0, 1, 2, "died"] * 10


def test_an_idle_worker_that_is_killed_is_replaced(eventually: Callable[..., None]) -> None:
    with shoal.Pool(1) as pool:
        (victim,) = pool._pool
        pool.apply(square, (1,))
        os.kill(victim.pid, signal.SIGKILL)
        assert pool.apply_async(square, (7,)).get(30) == 49
        eventually(lambda: [worker is not victim for worker in pool._pool] == [True])


def test_an_exception_has_the_workers_traceback_as_its_cause() -> None:
    with shoal.Pool(2) as pool:
        with pytest.raises(LookupError, match="no 3 here") as caught:
            pool.map(raise_lookup_error, range(10))
        assert "in raise_lookup_error" in str(caught.value.__cause__)
        results = pool.imap(raise_lookup_error, range(5))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LookupError):
            next(results)
        assert next(results) == 4


def test_what_cannot_be_pickled_fails_with_a_reason() -> None:
    with shoal.Pool(1) as pool:
        with pytest.raises(TypeError, match="FailsToPickle"):
            pool.apply(abs, (FailsToPickle(),))
        failed = pool.apply_async(abs, (FailsToPickle(),))  # not at once, as in multiprocessing
        with pytest.raises(TypeError, match="FailsToPickle"):
            failed.get(30)
        with pytest.raises(shoal.pool.MaybeEncodingError, match="Error sending result"):
            pool.apply(return_unpicklable, (1,))
        with pytest.raises(shoal.pool.MaybeEncodingError, match="with baggage"):
            pool.apply(raise_unpicklable, (1,))
        assert pool.apply(square, (2,)) == 4


def test_what_cannot_be_unpickled_fails_with_a_reason() -> None:
    with shoal.Pool(1) as pool:
        with pytest.raises(ValueError, match="not a number"):  # in the worker
            pool.apply(abs, (FailsToUnpickle(),))
        with pytest.raises(ValueError, match="not a number"):  # here
            pool.apply(FailsToUnpickle)
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            pool.apply(raise_hard_to_unpickle, (1,))
        assert pool.map(square, range(3)) == [0, 1, 4]


def test_an_iterable_that_raises_is_reported() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise LookupError("the iterable's own")

    with shoal.Pool(1) as pool:
        with pytest.raises(LookupError, match="own"):
            pool.map(square, numbers())
        squares = pool.imap(square, numbers())
        assert next(squares) == 1
        with pytest.raises(LookupError, match="own"):
            next(squares)
        with pytest.raises(StopIteration):
            next(squares)
        with pytest.raises(TypeError, match="not iterable"):
            next(pool.imap(square, 5))  # type: ignore[arg-type]


def test_a_callback_that_raises_stops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def callback(_: int) -> None:
        raise LookupError("in the callback")

    hook = threading.excepthook
    printed: list[Any] = []
    threading.excepthook = lambda arguments: printed.append(arguments.exc_value)
    try:
        with shoal.Pool(1) as pool:
            assert pool.apply_async(square, (3,), callback=callback).get(30) == 9
            assert pool.apply(square, (4,)) == 16
    finally:
        threading.excepthook = hook
    assert [str(error) for error in printed] == ["in the callback"]


def test_a_callback_may_terminate_the_pool() -> None:
    pool = shoal.Pool(1)
    over = threading.Event()

    def callback(_: int) -> None:
        pool.terminate()
        over.set()

    pool.apply_async(square, (3,), callback=callback)
    assert over.wait(30)
    pool.join()


def test_an_initializer_that_raises_breaks_the_pool(context: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with context.Pool(2, broken_initializer, ("no database",)) as pool:
        pending = pool.map_async(square, range(100), chunksize=1)
        with pytest.raises(shoal.WorkerDied, match="broken_initializer raised LookupError: no database") as caught:
            pending.get(30)
        assert isinstance(caught.value.__cause__, LookupError)
        assert "in broken_initializer" in str(caught.value.__cause__.__cause__)
        with pytest.raises(shoal.WorkerDied, match="runs no more tasks"):
            pool.apply(square, (1,))
        with pytest.raises(shoal.WorkerDied):
            next(pool.imap(square, [1, 2]))
        pool.close()
        pool.join()
    assert capfd.readouterr().err.count("Traceback") <= 4  # two for each of the first workers at most: no storm


def test_an_initializer_that_ends_its_process_breaks_the_pool() -> None:
    with shoal.Pool(2, dying_initializer) as pool, pytest.raises(shoal.WorkerDied, match="exit status 9 before it was"):
        pool.apply(square, (1,))


def test_terminate_fails_what_is_outstanding() -> None:
    asleep = shoal.Queue()
    called: list[Any] = []
    pool = shoal.Pool(1, share, (asleep,))
    mapped = pool.map_async(sleep_long, range(10), chunksize=1, callback=called.append, error_callback=called.append)
    iterated = pool.imap(sleep_long, range(10))
    assert asleep.get(timeout=30) == "asleep"
    pool.terminate()
    pool.join()
    with pytest.raises(shoal.ProcessError, match="terminated before this was done"):
        mapped.get(30)
    with pytest.raises(shoal.ProcessError, match="terminated before this was done"):
        next(iterated)
    assert called == []
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(square, (1,))


def test_terminate_kills_a_worker_that_ignores_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal._staff.GRACE_SECONDS", 0.2)
    asleep = shoal.Queue()
    pool = shoal.Pool(1, share, (asleep,))
    pool.apply_async(ignore_sigterm_and_sleep)
    assert asleep.get(timeout=30) == "deaf"
    (worker,) = pool._pool
    pool.terminate()
    pool.join()
    assert worker.exitcode == -signal.SIGKILL


def test_a_constructor_that_fails_leaves_no_worker() -> None:
    started: list[Any] = []

    class FailingPool(shoal.Pool):
        @staticmethod
        def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:  # noqa: N802
            if len(started) == 2:
                raise OSError("no more processes")
            started.append(ctx.Process(*args, **kwds))
            return started[-1]

    with pytest.raises(OSError, match="no more processes"):
        FailingPool(5)
    assert len(started) == 2
    assert not any(process.is_alive() for process in started)

"""shoal.futures.ProcessPoolExecutor: what Python 3.14's does, and what happens when workers die."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import itertools
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import shoal
from shoal import futures
from shoal.futures import ProcessPoolExecutor

PATIENCE = 30.0


def square(number: int) -> int:
    return number * number


def keywords(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def fail(number: int) -> int:
    if number == 3:
        raise LookupError(f"no {number} here")
    return number


def die(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(error: BaseException) -> None:
    raise error


def pid_of_worker(_: object = None) -> int:
    return os.getpid()


def wait_for(event: Any) -> str:
    return "went on" if event.wait(PATIENCE) else "waited in vain"


def wait_ignoring_sigterm(began: Any, event: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    began.set()
    event.wait(PATIENCE)


def set_and_wait(began: Any, event: Any) -> str:
    began.set()
    return wait_for(event)


greeting = "none"


def greet(text: str) -> None:
    global greeting
    greeting = text


def get_greeting() -> str:
    return greeting


def raise_in_initializer() -> None:
    raise LookupError("no such table")


@pytest.fixture
def executor(context: Any) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2, context) as made:
        yield made


# What the standard library's does


def test_submit_returns_a_future_of_the_standard_library(executor: ProcessPoolExecutor) -> None:
    future = executor.submit(square, 7)
    assert isinstance(future, concurrent.futures.Future)
    assert isinstance(executor, concurrent.futures.Executor)
    assert future.result(PATIENCE) == 49
    assert executor.submit(keywords, 1, self=2, fn=3).result(PATIENCE) == ((1,), {"self": 2, "fn": 3})


def test_what_a_call_raises_is_the_future_s_exception(executor: ProcessPoolExecutor) -> None:
    error = executor.submit(fail, 3).exception(PATIENCE)
    assert isinstance(error, LookupError)
    assert "in fail" in str(error.__cause__)  # the worker's traceback


def test_futures_are_waited_for_with_the_standard_functions(executor: ProcessPoolExecutor) -> None:
    under_way = [executor.submit(square, number) for number in range(20)]
    assert sorted(future.result() for future in futures.as_completed(under_way, PATIENCE)) == [
        number * number for number in range(20)
    ]
    assert futures.wait(under_way, PATIENCE).done == set(under_way)
    assert concurrent.futures.wait(under_way, PATIENCE).not_done == set()


@pytest.mark.parametrize("chunksize", [1, 3, 100])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_map_is_in_order(executor: ProcessPoolExecutor, chunksize: int, buffersize: int | None) -> None:
    values = executor.map(pow, range(10), itertools.repeat(2, 9), chunksize=chunksize, buffersize=buffersize)
    assert list(values) == [number**2 for number in range(9)]
    assert next(values, "end") == "end"


def test_map_raises_in_its_place_what_a_call_raised(executor: ProcessPoolExecutor) -> None:
    values = executor.map(fail, range(6))
    assert [next(values) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="no 3 here"):
        next(values)


@pytest.mark.parametrize("buffersize", [1, 5])
def test_map_of_an_endless_iterable_reads_no_further_than_its_buffer(
    executor: ProcessPoolExecutor, buffersize: int
) -> None:
    read: list[int] = []
    values = executor.map(
        square, (read.append(number) or number for number in itertools.count()), buffersize=buffersize
    )
    for taken in range(20):
        assert next(values) == taken * taken
        assert len(read) <= taken + 1 + buffersize
    values.close()  # type: ignore[attr-defined]


def test_map_times_out_and_cancels_what_has_not_begun(context: Any) -> None:
    go_on = context.Event()
    with ProcessPoolExecutor(1, context) as executor:
        values = executor.map(wait_for, [go_on] * 10, timeout=0.01)
        with pytest.raises(futures.TimeoutError):
            next(values)
        go_on.set()
        # Nobody waits for the eight that no worker was given.
        executor.submit(square, 1).result(PATIENCE)
    with pytest.raises(StopIteration):
        next(values)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"initializer": 1}, TypeError, "initializer must be a callable"),
        ({"max_tasks_per_child": 0}, ValueError, "max_tasks_per_child must be >= 1"),
        ({"max_tasks_per_child": 1.5}, TypeError, "max_tasks_per_child must be an integer"),
    ],
)
def test_wrong_arguments_are_errors(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ProcessPoolExecutor(**arguments)


def test_wrong_arguments_of_map_are_errors() -> None:
    with ProcessPoolExecutor(1) as executor:
        with pytest.raises(ValueError, match="chunksize must be >= 1"):
            executor.map(square, [1], chunksize=0)
        with pytest.raises(ValueError, match="buffersize must be None or > 0"):
            executor.map(square, [1], buffersize=0)
        with pytest.raises(TypeError, match="buffersize must be an integer or None"):
            executor.map(square, [1], buffersize="1")  # type: ignore[arg-type]


def test_the_initializer_runs_in_each_worker(context: Any) -> None:
    with ProcessPoolExecutor(2, context, greet, ("hello",)) as executor:
        assert {executor.submit(get_greeting).result(PATIENCE) for _ in range(10)} == {"hello"}


def test_workers_are_replaced_after_max_tasks_per_child(context: Any) -> None:
    with ProcessPoolExecutor(1, context, max_tasks_per_child=2) as executor:
        pids = [executor.submit(pid_of_worker).result(PATIENCE) for _ in range(6)]
    assert pids[0::2] == pids[1::2]
    assert len(set(pids)) == 3


def test_no_worker_is_started_before_the_first_call(context: Any) -> None:
    before = set(shoal.active_children())
    with ProcessPoolExecutor(2, context) as executor:
        assert set(shoal.active_children()) == before
        executor.submit(square, 1).result(PATIENCE)
        assert set(shoal.active_children()) > before


def test_pending_calls_are_cancelled_and_never_run(context: Any, tmp_path: Path) -> None:
    began, go_on = context.Event(), context.Event()
    with ProcessPoolExecutor(1, context) as executor:
        running = executor.submit(set_and_wait, began, go_on)
        assert began.wait(PATIENCE)
        pending = [executor.submit(os.mkdir, str(tmp_path / str(number))) for number in range(10)]
        assert not running.cancel()
        cancelled = [number for number, future in enumerate(pending) if future.cancel()]
        assert len(cancelled) >= 8  # but for what the worker finds next
        go_on.set()
        assert running.result(PATIENCE) == "went on"
    for number, future in enumerate(pending):
        assert future.cancelled() == (number in cancelled)
        assert (tmp_path / str(number)).exists() != future.cancelled()


def test_shutdown_waits_for_the_calls(context: Any) -> None:
    executor = ProcessPoolExecutor(2, context)
    under_way = [executor.submit(square, number) for number in range(50)]
    executor.shutdown()
    assert all(future.done() for future in under_way)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)
    executor.shutdown()


def test_shutdown_can_cancel_what_waits(context: Any) -> None:
    began, go_on = context.Event(), context.Event()
    executor = ProcessPoolExecutor(1, context)
    under_way = [executor.submit(set_and_wait, began, go_on) for _ in range(10)]
    assert began.wait(PATIENCE)
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in under_way] == [False] + [True] * 9
    go_on.set()
    assert under_way[0].result(PATIENCE) == "went on"
    executor.shutdown()


@pytest.mark.usefixtures("no_leaks")
def test_a_forgotten_executor_does_its_calls_and_ends(context: Any, eventually: Callable[..., None]) -> None:
    executor = ProcessPoolExecutor(2, context)
    gone = weakref.ref(executor)
    under_way = [executor.submit(square, number) for number in range(50)]
    del executor
    gc.collect()
    assert gone() is None
    assert [future.result(PATIENCE) for future in under_way] == [number * number for number in range(50)]


@pytest.mark.usefixtures("no_leaks")
def test_nothing_is_left_after_the_with_statement(context: Any) -> None:
    with ProcessPoolExecutor(2, context) as executor:
        assert sum(executor.map(square, range(10))) == 285


def test_callbacks_may_submit(executor: ProcessPoolExecutor) -> None:
    results: list[int] = []
    done = threading.Event()

    def go_on(future: futures.Future[int]) -> None:
        results.append(future.result())
        if len(results) == 20:
            done.set()
        else:
            executor.submit(square, len(results)).add_done_callback(go_on)  # type: ignore[arg-type]

    executor.submit(square, 0).add_done_callback(go_on)  # type: ignore[arg-type]
    assert done.wait(PATIENCE)
    assert results == [number * number for number in range(20)]


def test_calls_from_several_threads_are_all_done(executor: ProcessPoolExecutor) -> None:
    with futures.ThreadPoolExecutor(4) as threads:
        sums = threads.map(lambda _: sum(executor.map(square, range(100))), range(8))
        assert list(sums) == [328350] * 8


def test_the_interpreter_waits_for_calls_at_its_end(run: Callable[..., Any], program: Callable[..., Path]) -> None:
    program(
        """
        import sys, time
        from shoal.futures import ProcessPoolExecutor

        def slow(name):
            time.sleep(0.2)
            return name

        if __name__ == "__main__":
            executor = ProcessPoolExecutor(2)
            for name in "abcde":
                executor.submit(slow, name).add_done_callback(lambda future: print(future.result()))
            if sys.argv[1] == "forgotten":
                del executor
            print("end")
        """
    )
    for how in ("kept", "forgotten"):
        ended = run("-X", "dev", "program.py", how)
        assert (ended.status, ended.err) == (0, ""), ended
        assert ended.out.split()[0] == "end"
        assert sorted(ended.out.split()[1:]) == list("abcde")


# When workers die


def test_a_worker_that_dies_takes_only_its_own_call_with_it(executor: ProcessPoolExecutor) -> None:
    before = [executor.submit(square, number) for number in range(20)]
    lost = executor.submit(die)
    after = [executor.submit(square, number) for number in range(20)]
    error = lost.exception(PATIENCE)
    assert isinstance(error, futures.CallLost)
    assert isinstance(error, shoal.WorkerDied)
    assert isinstance(error, BrokenProcessPool)
    assert error.exitcode == -signal.SIGKILL
    assert "SIGKILL" in str(error)
    for future, number in zip(before + after, [*range(20)] * 2, strict=True):
        assert future.result(PATIENCE) == number * number


def test_map_raises_for_the_chunk_that_is_lost(executor: ProcessPoolExecutor) -> None:
    with pytest.raises(futures.CallLost):
        list(executor.map(die, [1]))
    assert list(executor.map(square, [2])) == [4]


def test_an_initializer_that_raises_breaks_the_executor(context: Any) -> None:
    executor = ProcessPoolExecutor(2, context, raise_in_initializer)
    under_way: list[concurrent.futures.Future[int]] = []
    with contextlib.suppress(BrokenProcessPool):  # already
        under_way.extend(executor.submit(square, number) for number in range(10))
    for future in under_way:
        error = future.exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)
        assert not isinstance(error, futures.CallLost)
        assert "no such table" in str(error)
    with pytest.raises(BrokenProcessPool, match="no such table"):
        executor.submit(square, 1)
    executor.shutdown()


@pytest.mark.parametrize("how", ["terminate_workers", "kill_workers"])
def test_ending_the_workers_ends_running_calls_and_cancels_the_others(context: Any, how: str) -> None:
    began, never = context.Event(), context.Event()
    executor = ProcessPoolExecutor(1, context)
    under_way = [executor.submit(set_and_wait, began, never) for _ in range(5)]
    assert began.wait(PATIENCE)
    getattr(executor, how)()
    assert isinstance(under_way[0].exception(PATIENCE), BrokenProcessPool)
    for future in under_way[1:]:
        assert future.cancelled() or isinstance(future.exception(PATIENCE), BrokenProcessPool)
    assert under_way[-1].cancelled()
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)


@pytest.mark.usefixtures("no_leaks")
def test_nothing_is_left_of_workers_that_were_ended(context: Any) -> None:
    executor = ProcessPoolExecutor(2, context)
    under_way = [executor.submit(time.sleep, PATIENCE) for _ in range(10)]
    executor.terminate_workers()
    assert futures.wait(under_way, PATIENCE).not_done == set()


def test_kill_workers_ends_what_ignores_sigterm(context: Any) -> None:
    began, never = context.Event(), context.Event()
    executor = ProcessPoolExecutor(1, context)
    future = executor.submit(wait_ignoring_sigterm, began, never)
    assert began.wait(PATIENCE)
    executor.kill_workers()
    assert isinstance(future.exception(PATIENCE), BrokenProcessPool)


def test_ending_the_workers_of_an_unused_executor_does_nothing() -> None:
    executor = ProcessPoolExecutor(1)
    executor.terminate_workers()
    executor.kill_workers()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(square, 1)


def test_a_running_call_can_be_cancelled(context: Any) -> None:
    began, never = context.Event(), context.Event()
    with ProcessPoolExecutor(1, context) as executor:
        future = executor.submit(set_and_wait, began, never)
        assert began.wait(PATIENCE)
        assert not future.cancel()
        assert future.cancel_running()
        with pytest.raises(futures.CancelledError):
            future.result(PATIENCE)
        assert future.cancelled()
        done = executor.submit(square, 3)
        assert done.result(PATIENCE) == 9  # by another worker
        assert not done.cancel_running()


def test_options_of_the_pool_can_be_given(context: Any) -> None:
    with ProcessPoolExecutor(1, context, timeout=3) as executor:
        with pytest.raises(TimeoutError):
            executor.submit(time.sleep, PATIENCE).result(PATIENCE)
        assert executor.submit(square, 3).result(PATIENCE) == 9


def test_a_fork_cannot_use_its_parent_s_executor(eventually: Callable[..., None]) -> None:
    with ProcessPoolExecutor(1, shoal.get_context("spawn")) as executor:
        assert executor.submit(square, 3).result(PATIENCE) == 9

        def use_it() -> None:
            with pytest.raises(RuntimeError, match="child of the process that made it"):
                executor.submit(square, 3)
            executor.shutdown()

        child = shoal.get_context("fork").Process(target=use_it)
        child.start()
        child.join(PATIENCE)
        assert child.exitcode == 0


def test_the_names_of_concurrent_futures_are_here() -> None:
    for name in futures.__all__:
        assert getattr(futures, name) is not None
    assert futures.as_completed is concurrent.futures.as_completed
    assert set(concurrent.futures.__all__) <= {*futures.__all__, "InterpreterPoolExecutor"}
    with pytest.raises(AttributeError, match=r"module 'shoal\.futures' has no attribute 'nothing'"):
        futures.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_a_callback_of_a_call_that_died_cannot_wait_for_the_end_either() -> None:
    executor = ProcessPoolExecutor(1)
    raised: list[BaseException] = []
    called = threading.Event()

    def shut_down(_: object) -> None:
        try:
            executor.shutdown()
        except RuntimeError as error:
            raised.append(error)
        called.set()

    executor.submit(die).add_done_callback(shut_down)
    assert called.wait(30)
    assert [str(error) for error in raised] == ["cannot wait for the executor in a callback of one of its futures"]
    executor.shutdown()

"""Shoal as a backend of joblib."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal
from shoal import _reusable_pool

joblib = pytest.importorskip("joblib")
delayed, Parallel = joblib.delayed, joblib.Parallel


@pytest.fixture(autouse=True)
def backend(context: Any) -> Iterator[None]:
    with joblib.parallel_config(backend="shoal", n_jobs=2, context=context):
        yield
    if _reusable_pool._kept is not None:
        _reusable_pool._kept.pool.terminate()


def square(number: int) -> int:
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise LookupError("no 3 here")
    return number


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail_or_wait(number: int, never: Any) -> None:
    if number == 3:
        raise LookupError("no 3 here")
    never.wait(30)


def pid_of_worker(_: object = None) -> int:
    return os.getpid()


def get_variable(name: str) -> str | None:
    return os.environ.get(name)


def sum_of_squares(count: int) -> int:
    return sum(Parallel(n_jobs=2)(delayed(square)(number) for number in range(count)))


def sum_of_squares_in_processes(count: int) -> tuple[int, set[int]]:
    squares = Parallel(n_jobs=2, backend="shoal")(delayed(square)(number) for number in range(count))
    pids = Parallel(n_jobs=2, backend="shoal")(delayed(pid_of_worker)() for _ in range(4))
    return sum(squares), set(pids)


def test_calls_are_done_by_the_pool_that_the_process_keeps(context: Any) -> None:
    assert Parallel()(delayed(square)(number) for number in range(100)) == [number * number for number in range(100)]
    kept = _reusable_pool._kept
    assert kept is not None
    workers = {process.pid for process in kept.pool._pool}
    assert len(workers) == 2
    assert set(Parallel()(delayed(pid_of_worker)() for _ in range(20))) <= workers


def test_an_error_is_raised_and_the_next_calls_are_done() -> None:
    with pytest.raises(LookupError, match="no 3 here"):
        Parallel()(delayed(fail_at_three)(number) for number in range(100))
    assert Parallel()(delayed(square)(number) for number in range(10)) == [number * number for number in range(10)]


def test_an_error_ends_the_calls_that_run(context: Any) -> None:
    manager_free = context.Event()
    with pytest.raises(LookupError, match="no 3 here"):
        Parallel(batch_size=1)(delayed(fail_or_wait)(number, manager_free) for number in range(3, 10))
    assert Parallel()(delayed(square)(number) for number in range(10)) == [number * number for number in range(10)]


def test_a_worker_that_dies_is_an_error_and_is_replaced() -> None:
    with pytest.raises(shoal.WorkerDied, match="SIGKILL"):
        Parallel()(delayed(die_at_three)(number) for number in range(10))
    assert Parallel()(delayed(square)(number) for number in range(10)) == [number * number for number in range(10)]


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_results_are_generated(return_as: str) -> None:
    results = Parallel(return_as=return_as)(delayed(square)(number) for number in range(50))
    assert sorted(results) == [number * number for number in range(50)]


def test_short_calls_go_out_in_batches() -> None:
    parallel = Parallel()
    assert sum(parallel(delayed(square)(number) for number in range(20_000))) == sum(n * n for n in range(20_000))
    assert parallel.n_completed_tasks == 20_000


@pytest.mark.parametrize("n_jobs", [1, -1, 3, None])
def test_any_number_of_jobs_will_do(n_jobs: int | None) -> None:
    assert Parallel(n_jobs=n_jobs)(delayed(square)(number) for number in range(10)) == [n * n for n in range(10)]


def test_no_jobs_at_all_are_an_error() -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)(delayed(square)(number) for number in range(10))


def test_parallel_calls_are_nested() -> None:
    assert Parallel()(delayed(sum_of_squares)(count) for count in range(6)) == [0, 0, 1, 5, 14, 30]


def test_parallel_calls_are_nested_in_processes() -> None:
    for result, pids in Parallel()(delayed(sum_of_squares_in_processes)(4) for _ in range(2)):
        assert result == 14
        assert os.getpid() not in pids


def test_lambdas_are_sent_where_cloudpickle_is_installed() -> None:
    assert Parallel()(delayed(lambda number: number + 1)(number) for number in range(3)) == [1, 2, 3]


def test_the_threads_of_libraries_are_limited_in_workers(context: Any) -> None:
    with joblib.parallel_config(backend="shoal", n_jobs=2, inner_max_num_threads=3, context=context):
        limits = Parallel()(delayed(get_variable)("OMP_NUM_THREADS") for _ in range(2))
    assert limits == ["3", "3"]
    assert os.environ.get("OMP_NUM_THREADS") != "3"


def test_parallel_calls_of_several_threads_do_not_disturb_each_other(context: Any) -> None:
    sums = []

    def work() -> None:
        with joblib.parallel_config(backend="shoal", n_jobs=2, context=context):
            sums.append(sum(Parallel()(delayed(square)(number) for number in range(100))))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sums == [328350] * 3


@pytest.mark.parametrize("imports", ["import joblib, shoal", "import shoal, joblib"])
def test_either_may_be_imported_first(run: Callable[..., Any], program: Callable[..., Path], imports: str) -> None:
    program(
        f"""
        {imports}
        import inspect

        if __name__ == "__main__":
            with joblib.parallel_config(backend="shoal", n_jobs=2):
                print(joblib.Parallel()(joblib.delayed(abs)(-number) for number in range(3)))
            assert "class Parallel" in inspect.getsource(joblib.parallel)
        """
    )
    ended = run("program.py")
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out == "[0, 1, 2]\n"


def test_importing_shoal_does_not_import_joblib(run: Callable[..., Any]) -> None:
    ended = run("-c", "import sys, shoal; print([name for name in sys.modules if name.startswith('joblib')])")
    assert ended.out == "[]\n", ended

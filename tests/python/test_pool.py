"""shoal.Pool when all goes well: the results are those of the serial program."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal
from process_support import has_ended

square_base = 0


def square(number: int) -> int:
    return number * number


def power(base: int, exponent: int, *, modulus: int | None = None) -> int:
    return pow(base, exponent, modulus)


def remember_base(base: int) -> None:
    global square_base
    square_base = base


def square_from_base(number: int) -> int:
    return square_base + number * number


def worker_pid(_: Any = None) -> int:
    return os.getpid()


def wait_at(event: Any) -> str:
    event.wait(30)
    return "late"


@pytest.fixture(scope="module")
def pool() -> Iterator[Any]:
    with shoal.Pool(2) as shared:
        yield shared


def test_every_start_method_has_pools(context: Any) -> None:
    with context.Pool(2, remember_base, (100,)) as pool:
        assert pool.map(square_from_base, range(5)) == [100, 101, 104, 109, 116]
        assert isinstance(pool, shoal.Pool)
        assert all(process.daemon for process in pool._pool)


def test_apply_calls_with_arguments(pool: Any) -> None:
    assert pool.apply(power, (2, 10), {"modulus": 1000}) == 24
    assert pool.apply_async(power, (2, 3)).get(30) == 8


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
def test_map_keeps_the_order(pool: Any, chunksize: int | None) -> None:
    numbers = list(range(100))
    assert pool.map(square, numbers, chunksize) == list(map(square, numbers))
    assert pool.map(square, iter(numbers), chunksize) == list(map(square, numbers))
    assert pool.map_async(square, numbers, chunksize).get(30) == list(map(square, numbers))


def test_map_of_nothing_is_an_empty_list(pool: Any) -> None:
    assert pool.map(square, []) == []
    assert pool.starmap(power, ()) == []
    assert list(pool.imap(square, [])) == []
    assert list(pool.imap_unordered(square, [], 5)) == []


def test_starmap_unpacks_the_arguments(pool: Any) -> None:
    assert pool.starmap(power, [(2, 3), (3, 2)]) == [8, 9]
    assert pool.starmap_async(power, [(2, 3), (3, 2)], 1).get(30) == [8, 9]


@pytest.mark.parametrize("chunksize", [1, 7])
def test_imap_yields_in_order(pool: Any, chunksize: int) -> None:
    assert list(pool.imap(square, range(50), chunksize)) == list(map(square, range(50)))
    assert sorted(pool.imap_unordered(square, range(50), chunksize)) == list(map(square, range(50)))


def test_imap_reads_an_endless_iterable_only_some_way_ahead(eventually: Callable[..., None]) -> None:
    read = itertools.count()
    with shoal.Pool(2) as pool:
        squares = pool.imap(square, iter(lambda: next(read), None))
        assert list(itertools.islice(squares, 1000)) == list(map(square, range(1000)))


def test_imap_gives_values_before_the_iterable_ends(pool: Any) -> None:
    go = threading.Event()

    def numbers() -> Iterator[int]:
        yield 2
        assert go.wait(30)
        yield 3

    squares = pool.imap(square, numbers())
    assert next(squares) == 4
    with pytest.raises(shoal.TimeoutError):
        squares.next(timeout=0.01)
    go.set()
    assert squares.next(timeout=30) == 9
    with pytest.raises(StopIteration):
        next(squares)


def test_two_imaps_go_on_side_by_side(pool: Any) -> None:
    blocked = threading.Event()

    def later() -> Iterator[int]:
        assert blocked.wait(30)
        yield 1

    slow = pool.imap(square, later())
    assert list(pool.imap(square, range(10))) == list(map(square, range(10)))
    blocked.set()
    assert list(slow) == [1]


def test_a_result_tells_how_far_it_is() -> None:
    go = shoal.Event()
    with shoal.Pool(1, initializer=inherit, initargs=(go,)) as pool:
        result = pool.apply_async(wait_for_inherited)
        assert not result.ready()
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        with pytest.raises(shoal.TimeoutError):
            result.get(timeout=0.01)
        result.wait(0.01)
        go.set()
        assert result.get(30) == "late"
        assert result.ready()
        assert result.successful()


inherited: Any = None


def inherit(event: Any) -> None:
    global inherited
    inherited = event


def wait_for_inherited() -> str:
    return wait_at(inherited)


def test_callbacks_run_once_with_the_value_or_the_error(pool: Any) -> None:
    values: list[Any] = []
    errors: list[BaseException] = []
    pool.apply_async(square, (3,), callback=values.append, error_callback=errors.append).get(30)
    pool.map_async(square, [1, 2, 3], callback=values.append, error_callback=errors.append).get(30)
    pool.starmap_async(power, [(2, 2)], callback=values.append).get(30)
    with pytest.raises(ZeroDivisionError):
        pool.apply_async(divmod, (1, 0), callback=values.append, error_callback=errors.append).get(30)
    assert values == [9, [1, 4, 9], [4]]
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_workers_are_replaced_after_maxtasksperchild() -> None:
    with shoal.Pool(1, maxtasksperchild=3) as pool:
        pids = pool.map(worker_pid, range(9), chunksize=1)
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]


def test_close_lets_all_work_be_done() -> None:
    pool = shoal.Pool(2, maxtasksperchild=2)
    results = [pool.apply_async(square, (number,)) for number in range(20)]
    pool.close()
    with pytest.raises(ValueError, match="Pool not running"):
        pool.apply(square, (1,))
    pool.join()
    assert [result.get(0) for result in results] == [number * number for number in range(20)]
    assert all(process.exitcode == 0 for process in pool._pool)


def test_join_needs_close_or_terminate(pool: Any) -> None:
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"processes": 0}, ValueError),
        ({"processes": -1}, ValueError),
        ({"maxtasksperchild": 0}, ValueError),
        ({"maxtasksperchild": "12"}, ValueError),
        ({"initializer": 5}, TypeError),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        shoal.Pool(**arguments)


@pytest.mark.parametrize("chunksize", [0, -1])
def test_chunks_cannot_be_empty(pool: Any, chunksize: int) -> None:
    for method in (pool.map, pool.imap, pool.imap_unordered, pool.starmap):
        with pytest.raises(ValueError, match="Chunksize must be 1"):
            method(square, [1], chunksize)


def test_a_pool_cannot_be_pickled(pool: Any) -> None:
    import pickle

    with pytest.raises(NotImplementedError, match="cannot be passed between processes"):
        pickle.dumps(pool)


def test_its_repr_tells_state_and_size() -> None:
    with shoal.Pool(2) as pool:
        assert repr(pool) == "<shoal.pool.Pool state=RUN pool_size=2>"
    assert "state=TERMINATE" in repr(pool)


def test_what_programs_look_into_is_there(pool: Any) -> None:
    assert pool._processes == 2
    assert [process.name.startswith("ForkPoolWorker") for process in pool._pool] == [True, True]
    assert pool._state == "RUN"
    assert len(pool._cache) == 0


def test_a_subclass_may_make_its_own_kind_of_process() -> None:
    class Undaemonic(shoal.get_context("fork").Process):  # type: ignore[misc]
        daemon = property(lambda self: False, lambda self, value: None)

    class ParentPool(shoal.Pool):
        @staticmethod
        def Process(ctx: Any, *args: Any, **kwds: Any) -> Any:  # noqa: N802
            return Undaemonic(*args, **kwds)

    with ParentPool(1) as pool:
        assert pool.apply(pool_in_a_pool) == [0, 1, 4]


def pool_in_a_pool() -> list[int]:
    with shoal.Pool(1) as inner:
        return inner.map(square, range(3))


def test_a_pool_that_is_forgotten_ends_with_a_warning(eventually: Callable[..., None]) -> None:
    pool = shoal.Pool(1)
    result = pool.apply_async(worker_pid)
    pid = result.get(30)
    eventually(lambda: result.ready())
    gone = weakref.ref(pool)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        del pool
        gc.collect()
    assert ["unclosed running multiprocessing pool" in str(warning.message) for warning in seen] == [True]
    seen.clear()  # a ResourceWarning keeps its subject
    gc.collect()
    assert gone() is None
    eventually(lambda: not os.path.exists(f"/proc/{pid}"), "the worker's end")


def test_a_result_keeps_its_pool_alive_until_it_is_there() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        assert shoal.Pool(1).map_async(square, range(10)).get(30) == list(map(square, range(10)))
        gc.collect()


def use_in_child(pool: Any, out: Any) -> None:
    del pool
    gc.collect()
    out.put("still here")


def test_a_forks_copy_of_a_pool_disturbs_nothing() -> None:
    out = shoal.Queue()
    with shoal.Pool(1) as pool:
        child = shoal.Process(target=use_in_child, args=(pool, out))
        child.start()
        assert out.get(timeout=30) == "still here"
        child.join()
        assert pool.apply(square, (5,)) == 25


def test_threads_may_share_a_pool(pool: Any) -> None:
    results: dict[int, list[int]] = {}

    def work(first: int) -> None:
        results[first] = pool.map(square, range(first, first + 50), chunksize=3)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 500, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {first: list(map(square, range(first, first + 50))) for first in range(0, 500, 100)}


@pytest.mark.usefixtures("no_leaks")
def test_pools_leave_nothing_behind() -> None:
    for number in range(3):
        with shoal.Pool(2, maxtasksperchild=1) as pool:
            assert pool.map(square, range(6), chunksize=1) == [0, 1, 4, 9, 16, 25]
            if number:
                pool.close()
                pool.join()
        del pool


def test_workers_never_outlive_a_killed_owner(
    run: Callable[..., Any], program: Any, eventually: Callable[..., None]
) -> None:
    path = program("""
        import os, signal, sys, time
        import shoal

        def pid(_):
            time.sleep(0.05)
            return os.getpid()

        if __name__ == "__main__":
            pool = shoal.get_context(sys.argv[1]).Pool(2)
            print(*set(pool.map(pid, range(8), 1)), flush=True)
            pool.map_async(time.sleep, [60, 60], 1)
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    for method in ("fork", "spawn", "forkserver"):
        ended = run(str(path), method)
        assert ended.status == -9, ended
        for pid in ended.out.split():
            eventually(lambda pid=pid: has_ended(int(pid)), f"the end of worker {pid} ({method})")


def test_a_program_may_end_without_ending_its_pool(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import shoal

        if __name__ == "__main__":
            pool = shoal.Pool(2)
            print(pool.map(abs, [-1, -2]))
            pool.map_async(abs, range(1000))
    """)
    started = time.monotonic()
    ended = run("-W", "ignore::ResourceWarning", str(path))
    assert (ended.status, ended.out) == (0, "[1, 2]\n"), ended
    assert time.monotonic() - started < 30


def test_daemon_threads_that_wait_when_the_program_ends_say_nothing(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import threading, time
        import shoal

        def sleep_long(number):
            time.sleep(3600)

        def use_for_ever(call):
            while True:
                call()

        if __name__ == "__main__":
            pool = shoal.Pool(2)
            blocked = shoal.Pool(1)
            calls = [
                lambda: pool.map(abs, range(50), 1),
                lambda: list(pool.imap(abs, range(50))),
                lambda: pool.apply(abs, (1,)),
                lambda: blocked.map(sleep_long, [1]),
                lambda: next(blocked.imap(sleep_long, [1])),
                lambda: blocked.apply_async(sleep_long, (1,)).get(),
            ]
            for call in calls:
                threading.Thread(target=use_for_ever, args=(call,), daemon=True).start()
            pool.apply(time.sleep, (0.1,))
    """)
    for _ in range(5):
        ended = run("-W", "ignore", str(path))
        assert (ended.status, ended.out, ended.err) == (0, "", ""), ended

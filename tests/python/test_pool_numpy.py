"""NumPy arrays as arguments and results of a pool's tasks: right, copied once, and given back."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal

numpy = pytest.importorskip("numpy")

MIB = 1 << 20


def doubled(array: Any) -> Any:
    return array * 2


def unchanged(array: Any) -> Any:
    return array


def total(array: Any) -> float:
    return float(array.sum())


def described(array: Any) -> tuple[str, tuple[int, ...], bool, bool]:
    return str(array.dtype), array.shape, bool(array.flags.c_contiguous), bool(array.flags.writeable)


def filled_in_place(array: Any) -> Any:
    array[:] = 7
    return array


def views_of_shared_memory(array: Any) -> bool:
    return lies_in_shared_memory(array)


def memory_taken(array: Any) -> int:
    """How many bytes of memory of its own the worker has needed, at most, for a sum over the array."""
    return python_memory_needed(lambda: total(array))


def python_memory_needed(call: Callable[[], Any]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def lies_in_shared_memory(array: Any) -> bool:
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(number, 16) for number in line.split()[0].split("-"))
        if first <= address < last:
            return "shoal:" in line
    return False


def shared_memory_of_queues(pid: int) -> int:
    """How many bytes the memory files behind a process's descriptors have."""
    blocks: dict[int, int] = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor).startswith("/memfd:shoal:queue"):
                status = os.stat(descriptor)
                blocks[status.st_ino] = status.st_blocks * 512
        except FileNotFoundError:  # noqa: PERF203
            continue
    return sum(blocks.values())


@pytest.fixture(scope="module", params=["fork", "spawn", "forkserver"])
def pool(request: pytest.FixtureRequest) -> Iterator[Any]:
    with shoal.get_context(request.param).Pool(2) as shared:
        yield shared


@pytest.mark.parametrize("size", [0, 10, 100_000])
@pytest.mark.parametrize("dtype", ["float64", "int8", "complex128", "bool", "datetime64[s]", "U5"])
def test_results_are_those_of_the_serial_program(pool: Any, size: int, dtype: str) -> None:
    array = numpy.arange(size).astype(dtype)
    got = pool.apply(unchanged, (array,))
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert numpy.array_equal(got, array)


def test_arrays_of_any_shape_arrive(pool: Any) -> None:
    whole = numpy.arange(240_000.0).reshape(300, 400, 2)
    for array in (whole, whole.T, whole[::2], whole[:, ::-1], whole[5:5], numpy.asfortranarray(whole)):
        assert numpy.array_equal(pool.apply(doubled, (array,)), array * 2)
    objects = numpy.array([1, "two", None] * 10_000, dtype=object)
    assert list(pool.apply(unchanged, (objects,))) == list(objects)


@pytest.mark.parametrize("method", ["map", "imap", "imap_unordered", "map_async"])
def test_every_method_takes_and_returns_arrays(pool: Any, method: str) -> None:
    arrays = [numpy.full(50_000, number) for number in range(20)]
    results = getattr(pool, method)(doubled, arrays, 3)
    results = results.get(30) if method == "map_async" else list(results)
    assert sorted(int(result[0]) for result in results) == list(range(0, 40, 2))
    assert all(result.shape == (50_000,) and (result == result[0]).all() for result in results)


def test_several_arrays_in_one_call(pool: Any) -> None:
    one, two = numpy.ones(100_000), numpy.full(100_000, 2.0)
    assert numpy.array_equal(pool.apply(numpy.add, (one, two)), one + two)
    sums = pool.starmap(numpy.add, [(one, two), (two, two)])
    assert [float(array[0]) for array in sums] == [3.0, 4.0]
    named = pool.apply(dict, (), {"one": one, "two": two})
    assert numpy.array_equal(named["two"], two)


def test_a_large_argument_is_a_view_of_shared_memory_in_the_worker(pool: Any) -> None:
    array = numpy.ones(8 * MIB // 8)
    assert pool.apply(views_of_shared_memory, (array,))
    assert pool.apply(memory_taken, (array,)) < MIB
    assert pool.apply(described, (array,)) == ("float64", array.shape, True, True)


def test_a_large_result_is_a_view_of_shared_memory_here(pool: Any) -> None:
    assert lies_in_shared_memory(pool.apply(numpy.ones, (MIB,)))
    (result,) = pool.map(numpy.ones, [MIB], chunksize=1)
    assert lies_in_shared_memory(result)
    assert result.flags.writeable


def test_neither_way_takes_memory_of_this_process(pool: Any) -> None:
    array = numpy.ones(16 * MIB // 8)
    pool.apply(doubled, (array,))
    assert python_memory_needed(lambda: pool.apply(doubled, (array,))) < MIB


def test_a_task_may_write_to_its_argument(pool: Any) -> None:
    array = numpy.zeros(100_000)
    assert (pool.apply(filled_in_place, (array,)) == 7).all()
    assert (array == 0).all()


def test_results_that_are_held_keep_their_values(pool: Any) -> None:
    held = [pool.apply(numpy.full, (50_000, number)) for number in range(30)]
    for _ in pool.imap(numpy.ones, [50_000] * 30):
        pass
    assert [int(array[0]) for array in held] == list(range(30))
    assert all((array == array[0]).all() for array in held)


def test_memory_does_not_grow_with_the_number_of_tasks(pool: Any) -> None:
    array = numpy.ones(MIB // 8)

    def run(times: int) -> int:
        for _ in range(times):
            assert pool.map(total, [array] * 4, chunksize=1) == [float(array.size)] * 4
            assert all(float(result[-1]) == 2.0 for result in pool.map(doubled, [array] * 4, chunksize=1))
        return shared_memory_of_queues(os.getpid())

    before = run(20)  # a queue keeps some memory to use it again
    assert run(60) < before + 100 * MIB  # of 720 that went through


def test_results_outlive_the_pool(context: Any) -> None:
    with context.Pool(1) as pool:
        result = pool.apply(numpy.full, (MIB, 3))
        pool.close()
        pool.join()
    del pool
    gc.collect()
    assert int(result.sum()) == 3 * MIB

"""Results of pools behind one descriptor: shoal.pool.ResultSet."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import select
import signal
import sys
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from types import FrameType
from typing import Any

import pytest
import shoal
from shoal.futures import ProcessPoolExecutor
from shoal.pool import ApplyResult, ResultSet

PATIENCE = 30.0


def after(seconds: float, value: int) -> int:
    time.sleep(seconds)
    if value < 0:
        raise ValueError(value)
    return value


@pytest.fixture
def pool() -> Iterator[shoal.Pool]:
    with shoal.Pool(2) as made:
        yield made


def is_readable(results: ResultSet[Any]) -> bool:
    return bool(select.select([results], [], [], 0)[0])


class Allowance:
    """What a task of the pool waits for."""

    go_on: Any = None

    @classmethod
    def receive(cls, go_on: Any) -> None:
        cls.go_on = go_on


def when_allowed() -> None:
    assert Allowance.go_on.wait(PATIENCE)


def test_results_come_out_as_they_end() -> None:
    go_on = shoal.Event()
    with shoal.Pool(2, Allowance.receive, (go_on,)) as pool:
        late = pool.apply_async(when_allowed)
        soon = pool.apply_async(abs, (-1,))
        results = ResultSet([late, soon])
        assert len(results) == 2
        assert next(results) is soon
        go_on.set()
        assert list(results) == [late]
        assert len(results) == 0
        with pytest.raises(StopIteration):
            results.next(0)


def test_its_descriptor_is_readable_while_one_has_ended(pool: shoal.Pool) -> None:
    results: ResultSet[Any] = ResultSet()
    assert not is_readable(results)
    for value in (1, -1, 3):
        results.add(pool.apply_async(after, (0, value)))
    seen = []
    while len(results):
        assert shoal.wait([results], PATIENCE) == [results]
        seen.append(results.next(timeout=0))
        with contextlib.suppress(shoal.TimeoutError):
            while len(results):
                seen.append(results.next(timeout=0))
    assert not is_readable(results)
    assert sorted(result.successful() for result in seen) == [False, True, True]


def test_one_that_has_ended_before_comes_out_as_well(pool: shoal.Pool) -> None:
    ended = pool.map_async(abs, [-1])
    ended.wait()
    results = ResultSet([ended])
    assert is_readable(results)
    assert results.next(0).get() == [1]
    assert not is_readable(results)


def test_cancelled_and_terminated_calls_come_out() -> None:
    with shoal.Pool(1) as pool:
        first, second = (pool.apply_async(after, (PATIENCE, 1)) for _ in range(2))
        results = ResultSet([first, second])
        first.cancel()
        assert results.next(PATIENCE) is first
        pool.terminate()
        assert results.next(PATIENCE) is second


def test_next_waits_no_longer_than_its_timeout(pool: shoal.Pool) -> None:
    results = ResultSet([pool.apply_async(after, (PATIENCE, 1))])
    with pytest.raises(shoal.TimeoutError):
        results.next(0.05)
    pool.terminate()


def test_futures_of_executors_are_taken_too() -> None:
    with ProcessPoolExecutor(2) as executor:
        results = ResultSet(executor.submit(after, 0, value) for value in range(20))
        assert sorted(future.result() for future in results) == list(range(20))


def test_hundreds_of_results_wake_an_event_loop(pool: shoal.Pool) -> None:
    async def main() -> list[int]:
        results: ResultSet[Any] = ResultSet()
        values: list[int] = []
        done = asyncio.Event()

        def take() -> None:
            values.append(results.next(timeout=0).get())
            if len(values) == 300:
                done.set()

        loop = asyncio.get_running_loop()
        loop.add_reader(results, take)
        for value in range(300):
            results.add(pool.apply_async(after, (0, value)))
        await asyncio.wait_for(done.wait(), PATIENCE)
        loop.remove_reader(results)
        return values

    assert sorted(asyncio.run(main())) == list(range(300))


@pytest.mark.parametrize("wrong", [3, None, "imap"])
def test_what_cannot_be_in_a_set_is_refused_and_not_waited_for(pool: shoal.Pool, wrong: Any) -> None:
    results = ResultSet([pool.apply_async(abs, [-1])])
    with pytest.raises(TypeError, match="expected what apply_async or map_async returned, or a future"):
        results.add(pool.imap(abs, []) if wrong == "imap" else wrong)
    assert [result.get() for result in results] == [1]


def test_a_fork_is_refused_a_result_that_it_cannot_receive(pool: shoal.Pool) -> None:
    result = pool.apply_async(after, (PATIENCE, 1))
    child = shoal.get_context("fork").Process(target=refuse_to_add, args=(result,))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
    pool.terminate()


def refuse_to_add(result: Any) -> None:
    results: ResultSet[Any] = ResultSet()
    with pytest.raises(RuntimeError, match="another process"):
        results.add(result)
    assert list(results) == []


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("kind", ["result", "future"])
def test_it_goes_with_its_last_reference_whatever_it_waits_for(pool: shoal.Pool, kind: str, ended: bool) -> None:
    calls: list[Any] = [Future() if kind == "future" else pool.apply_async(after, (PATIENCE, 1)) for _ in range(3)]
    results = ResultSet(calls)
    if ended:
        for call in calls:
            assert call.cancel()
        assert results.next(PATIENCE) is calls[0]
    gone = weakref.ref(results)
    gc.disable()
    try:
        del results
        assert gone() is None
    finally:
        gc.enable()
    for call in calls:
        call.cancel()


def test_a_result_is_added_to_another_set_at_any_step_of_being_added_to_one(pool: shoal.Pool) -> None:
    """As another thread or a signal handler may do: both sets are told."""
    for step in range(100):  # from 0, since CPython 3.12 tells of single instructions only from the second call on
        result = pool.apply_async(abs, [-1])
        one, other = ResultSet[Any](), ResultSet[Any]()
        if not add_at_step(step, result, one, other):
            break
        assert one.next(PATIENCE) is result
        assert step == 0 or other.next(PATIENCE) is result
    assert 10 < step < 99


def add_at_step(step: int, result: Any, one: ResultSet[Any], other: ResultSet[Any]) -> bool:
    """Add it to one, and to the other before that instruction of it, counted from 1; whether there are so many."""
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code is not ApplyResult._when_done.__code__:
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        if steps == step:
            sys.settrace(None)
            frame.f_trace = None
            other.add(result)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        one.add(result)
    finally:
        sys.settrace(before)
    return steps >= step


class InterruptionError(Exception):
    """What a signal handler raises."""


def interrupt(*_: object) -> None:
    raise InterruptionError


@pytest.fixture
def interruptions() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def wait_until_interrupted(result: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.001))
    result.get()
    time.sleep(PATIENCE)


@pytest.mark.usefixtures("interruptions")
def test_an_interrupt_of_whoever_waits_for_another_result_is_raised_there_and_no_result_is_lost(
    pool: shoal.Pool,
) -> None:
    for _ in range(200):
        results = ResultSet(pool.apply_async(abs, [-1]) for _ in range(100))
        another = pool.apply_async(abs, [-1])
        with pytest.raises(InterruptionError):
            wait_until_interrupted(another)
        taken = []
        with contextlib.suppress(StopIteration):
            while True:
                taken.append(results.next(PATIENCE))
        assert len(taken) == 100


def test_it_has_one_descriptor_and_closes_it(pool: shoal.Pool) -> None:
    pool.apply(abs, [1])
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    results = ResultSet(pool.apply_async(abs, [value]) for value in range(100))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(list(results)) == 100
    gone = weakref.ref(results)
    del results
    gc.collect()
    assert gone() is None
    assert len(os.listdir("/proc/self/fd")) == before

"""shoal.Pool when a call cannot become tasks, or is interrupted while it does: it fails, and nothing is left of it."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import shoal
from shoal.pool import IMapIterator, Pool

BOUND = 30.0


class Unsendable:
    """Something that ends more than a task when it is pickled."""

    def __reduce__(self) -> Any:
        raise SystemExit("not to be sent")


class UnreadableError(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)


class Unprintable:
    def __repr__(self) -> str:
        raise LookupError("no repr")

    def __call__(self, number: int) -> int:
        return number


def same(thing: Any) -> Any:
    return thing


def first_of(number: int, _: Any) -> int:
    return number


def fail_unreadably() -> None:
    raise UnreadableError(1, 2)


def fail_later() -> None:
    time.sleep(0.3)
    raise LookupError("not today")


def ignore_sigterm(ready: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(ready, "w"):
        pass
    time.sleep(10 * BOUND)


def eventually(condition: Callable[[], Any]) -> bool:
    end = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def join_in_time(pool: Pool) -> bool:
    pool.close()
    joining = threading.Thread(target=pool.join, daemon=True)
    joining.start()
    joining.join(BOUND)
    return not joining.is_alive()


def slowly(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        time.sleep(0.02)
        yield item


def test_an_item_that_cannot_be_sent_fails_at_once_though_the_iterable_goes_on() -> None:
    with shoal.Pool(2) as pool:
        results = pool.imap(same, slowly(threading.Lock() for _ in itertools.count()), buffersize=3)
        for _ in range(6):  # more than may be ahead
            with pytest.raises(TypeError, match="pickle"):
                results.next(timeout=BOUND)


def test_a_call_that_cannot_be_sent_is_called_back_while_others_run() -> None:
    with shoal.Pool(1) as pool:
        pool.apply_async(time.sleep, (10 * BOUND,), callback=same)
        assert eventually(lambda: not pool._crew._handler.is_asleep)
        errors: list[BaseException] = []
        result = pool.apply_async(same, (threading.Lock(),), error_callback=errors.append)
        with pytest.raises(TypeError, match="pickle"):
            result.get(BOUND)
        assert len(errors) == 1
        values: list[Any] = []
        pool.map_async(same, [], callback=values.append)
        assert eventually(lambda: values == [[]])


def map_unsendable(pool: Pool) -> None:
    pool.map(same, [1, Unsendable(), 3], 1)


def iterate_over_unsendable(pool: Pool) -> None:
    list(pool.imap(same, [1, Unsendable(), 3]))


def iterate_over_unsendable_by_a_thread(pool: Pool) -> None:
    results = pool.imap(same, iter([1, Unsendable(), 3]))
    assert results.next(BOUND) == 1
    results.next(BOUND)


def apply_to_unsendable(pool: Pool) -> None:
    pool.apply(same, (Unsendable(),))


def apply_to_unsendable_with_a_timeout(pool: Pool) -> None:
    pool.apply_async(same, (Unsendable(),), timeout=BOUND).get(BOUND)


@pytest.mark.parametrize(
    "call",
    [
        map_unsendable,
        iterate_over_unsendable,
        iterate_over_unsendable_by_a_thread,
        apply_to_unsendable,
        apply_to_unsendable_with_a_timeout,
    ],
)
def test_what_pickling_raises_beyond_exceptions_leaves_no_call_behind(call: Callable[[Pool], None]) -> None:
    pool = shoal.Pool(2)
    try:
        with pytest.raises(SystemExit, match="not to be sent"):
            call(pool)
        assert join_in_time(pool)
    finally:
        pool.terminate()


def test_a_map_that_is_interrupted_while_tasks_are_made_leaves_no_call_behind() -> None:
    pool = shoal.Pool(2)

    class Interrupting:
        def __reduce__(self) -> Any:
            signal.raise_signal(signal.SIGINT)
            return int, ()

    try:
        with pytest.raises(KeyboardInterrupt):
            pool.map(same, [*range(500), Interrupting(), *range(500)], 1)
        assert pool.map(same, range(10)) == list(range(10))
        assert join_in_time(pool)
    finally:
        pool.terminate()


class Longer(list[int]):
    def __len__(self) -> int:
        return 1


class Shorter(list[int]):
    def __len__(self) -> int:
        return 100


class Failing(list[int]):
    def __iter__(self) -> Iterator[int]:
        yield 1
        raise LookupError("no more")


@pytest.mark.parametrize("chunksize", [1, 2, None])
def test_a_map_believes_what_its_iterable_yields_not_its_length(chunksize: int | None) -> None:
    with shoal.Pool(2) as pool:
        for kind in (Longer, Shorter):
            assert pool.map_async(same, kind([1, 2, 3]), chunksize).get(BOUND) == [1, 2, 3]
        with pytest.raises(LookupError, match="no more"):
            pool.map_async(same, Failing([1, 2]), chunksize).get(BOUND)


@pytest.mark.parametrize("change", [list.clear, lambda items: items.extend([b"more"] * 100)])
def test_a_list_that_changes_while_its_tasks_are_made_hangs_nothing(change: Callable[[list[Any]], None]) -> None:
    items: list[Any] = [bytes(4 << 20) for _ in range(60)]  # more than is sent at once
    with shoal.Pool(2) as pool:
        result = pool.map_async(len, items, 1)
        change(items)
        try:
            assert result.get(BOUND) == [4 << 20] * 60
        except RuntimeError as error:
            assert "removed" in str(error)  # noqa: PT017
        assert pool.map(same, range(10)) == list(range(10))
        assert join_in_time(pool)


@pytest.mark.parametrize("how", ["the end of the pool", "cancel"])
def test_a_feeder_ends_with_its_call(how: str) -> None:
    before = threads()  # threads of other tests may end meanwhile
    with shoal.Pool(2) as pool:
        without_feeder = threads()
        results = pool.imap(same, itertools.count(), buffersize=3)
        assert results.next(BOUND) == 0
        feeders = threads() - without_feeder
        assert len(feeders) == 1
        if how == "cancel":
            assert results.cancel()
            assert eventually(lambda: not threads() & feeders)
    assert eventually(lambda: threads() <= before)


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def test_several_threads_take_of_one_iterator_with_little_room() -> None:
    with shoal.Pool(2) as pool:
        for _ in range(20):
            results: IMapIterator[int] = pool.imap_unordered(same, list(range(200)), buffersize=1)
            taken: list[int] = []
            threads = [threading.Thread(target=taken.extend, args=(results,), daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(BOUND)
                assert not thread.is_alive()
            assert sorted(taken) == list(range(200))


@pytest.mark.parametrize("seconds", [3e6, 1e12, float("inf")])
def test_a_time_limit_may_be_very_long(seconds: float) -> None:
    with shoal.Pool(1) as pool:
        assert pool.apply_async(time.sleep, (0.05,), timeout=seconds).get(BOUND) is None
        assert pool.apply(same, (1,)) == 1


def test_an_initializer_may_raise_what_cannot_be_unpickled() -> None:
    with (
        shoal.Pool(1, fail_unreadably) as pool,
        pytest.raises(shoal.errors.WorkerDied, match="UnreadableError: 1") as caught,
    ):
        pool.apply(same, (1,))
    assert "initializer fail_unreadably raised" in str(caught.value)


def test_the_error_callback_is_called_when_the_pool_breaks() -> None:
    with shoal.Pool(1, fail_later) as pool:
        errors: list[BaseException] = []
        result = pool.apply_async(same, (1,), error_callback=errors.append)
        with pytest.raises(shoal.errors.WorkerDied, match="not today"):
            result.get(BOUND)
        assert [type(error) for error in errors] == [shoal.errors.WorkerDied]


def test_a_fork_that_closes_the_pool_closes_nothing() -> None:
    with shoal.Pool(1) as pool:
        pid = os.fork()
        if pid == 0:
            try:
                pool.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        assert pool.map_async(same, range(10)).get(BOUND) == list(range(10))


def test_terminate_can_be_called_again_when_it_was_interrupted(tmp_path: Any) -> None:
    ready = tmp_path / "ready"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    pool = shoal.Pool(1)
    result = pool.apply_async(ignore_sigterm, (str(ready),))
    assert eventually(ready.exists)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            pool.terminate()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pool.terminate()
    assert join_in_time(pool)
    with pytest.raises(shoal.errors.ProcessError):
        result.get(BOUND)


def test_functions_without_a_repr_are_called() -> None:
    with shoal.Pool(1) as pool:
        assert pool.apply(Unprintable(), (1,)) == 1
        assert pool.map(functools.partial(first_of, _=Unprintable()), [1, 2]) == [1, 2]


def test_a_fork_does_not_receive_what_is_its_parents() -> None:
    with shoal.Pool(1) as pool:
        result = pool.apply_async(time.sleep, (0.5,))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(int(BOUND))
                result.get()
            except RuntimeError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert result.get(BOUND) is None


def fail_once(flag: str) -> Callable[[Any], str]:
    return functools.partial(fail_unless_there, flag)


def fail_unless_there(flag: str, item: Any) -> str:
    if os.path.exists(flag):
        return repr(item)
    with open(flag, "w"):
        pass
    raise LookupError("the first time")


def test_none_is_an_item_like_others_when_it_is_run_again(tmp_path: Any) -> None:
    with shoal.Pool(1) as pool:
        call = fail_once(str(tmp_path / "flag"))
        assert pool.map(call, [None, None], retries=1, retry_on=LookupError) == ["None", "None"]


def test_none_is_no_function() -> None:
    with shoal.Pool(1) as pool:
        with pytest.raises(TypeError, match="not callable"):
            pool.map_async(None, [1]).get(BOUND)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="not callable"):
            pool.apply_async(None).get(BOUND)  # type: ignore[arg-type]


def test_a_chunk_may_be_as_large_as_numbers_are() -> None:
    with shoal.Pool(1) as pool:
        assert pool.map(same, [1, 2, 3], 2**64 - 1) == [1, 2, 3]


WRONG_TYPES: dict[str, tuple[Callable[[Any], object], str]] = {
    "processes": (lambda _: shoal.Pool(2.5), "processes is 2.5, expected a whole number"),  # type: ignore[arg-type]
    "timeout of the pool": (lambda _: shoal.Pool(1, timeout="1"), "timeout is '1', expected a number of seconds"),  # type: ignore[arg-type]
    "cpu_affinity": (lambda _: shoal.Pool(1, cpu_affinity="0"), "cpu_affinity is '0', expected True or a list"),  # type: ignore[arg-type]
    "chunksize of map": (lambda pool: pool.map(same, [1], 2.5), "chunksize is 2.5, expected a whole number"),
    "chunksize of imap": (lambda pool: pool.imap(same, [1], "3"), "chunksize is '3', expected a whole number"),
    "chunksize of aimap": (lambda pool: pool.aimap(same, [1], 2.5), "chunksize is 2.5, expected a whole number"),
    "buffersize": (lambda pool: pool.imap(same, [1], buffersize=1.5), "buffersize is 1.5, expected a whole number"),
    "timeout of a task": (lambda pool: pool.apply(same, (1,), timeout="1"), "timeout is '1', expected a number"),
    "timeout of get": (lambda pool: pool.apply_async(same, (1,)).get("1"), "must be real number, not str"),
    "timeout of next": (lambda pool: pool.imap(same, [1]).next("1"), "must be real number, not str"),
}


@pytest.mark.parametrize("which", WRONG_TYPES)
def test_an_argument_of_a_wrong_type_is_named(which: str) -> None:
    call, message = WRONG_TYPES[which]
    with shoal.Pool(1) as pool:
        with pytest.raises(TypeError, match=message):
            call(pool)
        assert pool.map(same, range(3), AlmostInt()) == [0, 1, 2]  # type: ignore[arg-type]


class AlmostInt:
    def __index__(self) -> int:
        return 2

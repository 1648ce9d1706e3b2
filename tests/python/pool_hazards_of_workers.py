"""Programs whose workers, or what they are sent or send, make pools hang."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pool_hazard_support import hazard, kill_self, large, mark, outcome, outcomes, square


def raise_one(kind: type[BaseException], *args: object) -> NoReturn:
    raise kind(*args)


def kill_self_at_three(number: int) -> int:
    if number == 3:
        kill_self()
    return number


class UncommonError(BaseException):
    pass


def leave(how: str) -> NoReturn:
    if how == "os._exit":
        os._exit(6)
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}.get(how, UncommonError)


class FailsToPickle:
    def __init__(self, error: type[BaseException] = TypeError) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error("cannot be pickled")


def fail_to_unpickle(error: type[BaseException]) -> NoReturn:
    raise error("cannot be unpickled")


class FailsToUnpickle:
    def __init__(self, error: type[BaseException] = ValueError) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return fail_to_unpickle, (self.error,)


class NeedsTwoArguments(Exception):  # noqa: N818
    """Pickles well and unpickles badly, as many exceptions in the wild do."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Unprintable(Exception):  # noqa: N818
    """Cannot be pickled, and not be shown instead."""

    def __reduce__(self) -> Any:
        raise TypeError("no pickle")

    def __repr__(self) -> str:
        raise TypeError("no repr")

    __str__ = __repr__


def make(kind: Callable[..., Any], *args: object) -> Any:
    return kind(*args)


def start_badly(how: str) -> None:
    with open("starts", "ab", buffering=0) as starts:
        starts.write(b"x")
    if how == "raises":
        raise LookupError("in the initializer")
    if how == "exits":
        sys.exit(5)
    kill_self()


def fork(then: str) -> int:
    """Fork in a task; return the child's pid."""
    child = os.fork()
    if child != 0:
        if then != "live on":
            os.waitpid(child, 0)
        return child
    if then == "exit":
        os._exit(0)
    if then == "sys.exit":
        sys.exit(0)
    if then == "live on":
        mark("child")
        time.sleep(0.5)
        os._exit(0)
    return 0  # to where the worker called the task


def close_descriptors(which: str) -> int:
    if which == "stdin":
        sys.stdin.close()
        with contextlib.suppress(OSError):
            os.close(0)
    elif which == "streams":
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        os.closerange(0, 3)
    else:
        os.closerange(0, 1 << 16)
    return 1


def recurse() -> NoReturn:
    recurse()


@hazard("WorkerDied 16")
def worker_killed_in_a_task(context: Any) -> str:
    with context.Pool(2) as pool:
        return f"{outcome(pool.apply, kill_self)} {pool.apply(square, (4,))}"


@hazard("WorkerDied, the others done")
def worker_killed_in_a_map(context: Any) -> str:
    with context.Pool(2) as pool:
        done = outcomes(pool.imap(kill_self_at_three, range(100)))
        died = done.pop(3)
        return f"{died}, the others done" if done == [str(n) for n in range(100) if n != 3] else f"{died} {done}"


@hazard("[0, 1, 4]")
def idle_workers_killed(context: Any) -> str:
    with context.Pool(2) as pool:
        pool.map(square, range(10), 1)
        for worker in list(pool._pool):
            os.kill(worker.pid, signal.SIGKILL)
        return str(pool.map(square, range(3)))


@hazard("[0, 1, 4]")
def workers_killed_while_they_start(context: Any) -> str:
    with context.Pool(2) as pool:
        seen: set[int] = set()
        while len(seen) < 10:
            for worker in list(pool._pool):
                with contextlib.suppress(ValueError):  # has ended already, and is closed
                    if worker.pid not in seen:
                        seen.add(worker.pid)
                        worker.kill()
        return str(pool.map(square, range(3)))


@hazard("WorkerDied WorkerDied WorkerDied WorkerDied 16")
def task_that_ends_its_process(context: Any) -> str:
    with context.Pool(2) as pool:
        ways = ("os._exit", "SystemExit", "KeyboardInterrupt", "BaseException")
        return f"{' '.join(outcome(pool.apply, leave, (how,)) for how in ways)} {pool.apply(square, (4,))}"


@hazard("TypeError TypeError TypeError 16")
def argument_or_function_that_cannot_be_pickled(context: Any) -> str:
    with context.Pool(2) as pool:
        found = [
            outcome(pool.apply_async(square, (FailsToPickle(),)).get),
            outcome(pool.map, square, [1, FailsToPickle(), 3], 1),
            outcome(pool.map, functools.partial(make, FailsToPickle()), [1]),
        ]
        return f"{' '.join(found)} {pool.apply(square, (4,))}"


@hazard("ValueError ValueError ['ValueError', '16'] 16")
def argument_that_cannot_be_unpickled(context: Any) -> str:
    with context.Pool(2) as pool:
        found = [
            outcome(pool.apply, square, (FailsToUnpickle(),)),
            outcome(pool.map, square, [FailsToUnpickle(), 3], 1),
            str(outcomes(pool.imap(square, [FailsToUnpickle(), 4]))),
        ]
        return f"{' '.join(found)} {pool.apply(square, (4,))}"


@hazard("MaybeEncodingError MaybeEncodingError MaybeEncodingError 16")
def result_that_cannot_be_pickled(context: Any) -> str:
    with context.Pool(2) as pool:
        found = [
            outcome(pool.apply, make, (FailsToPickle,)),
            outcome(pool.map, _fails_to_pickle, [1, 2], 1),
            outcome(pool.apply, raise_one, (Unprintable,)),
        ]
        return f"{' '.join(found)} {pool.apply(square, (4,))}"


def _fails_to_pickle(_: object) -> Any:
    return FailsToPickle()


@hazard("ValueError ValueError 16")
def result_that_cannot_be_unpickled(context: Any) -> str:
    with context.Pool(2) as pool:
        found = [outcome(pool.apply, make, (FailsToUnpickle,)), outcome(pool.map, _fails_to_unpickle, range(3), 1)]
        return f"{' '.join(found)} {pool.apply(square, (4,))}"


def _fails_to_unpickle(_: object) -> Any:
    return FailsToUnpickle()


@hazard("TypeError ['0', '1', 'TypeError', '9'] 16")
def exception_that_cannot_be_unpickled(context: Any) -> str:
    with context.Pool(2) as pool:
        found = [
            outcome(pool.apply, raise_one, (NeedsTwoArguments, "one", "two")),
            str(outcomes(pool.imap(_needs_two_at_two, range(4)))),
        ]
        return f"{' '.join(found)} {pool.apply(square, (4,))}"


def _needs_two_at_two(number: int) -> int:
    if number == 2:
        raise NeedsTwoArguments("one", "two")
    return square(number)


@hazard("WorkerDied 16")
def result_whose_pickling_ends_the_process(context: Any) -> str:
    with context.Pool(2) as pool:
        return f"{outcome(pool.apply, make, (FailsToPickle, SystemExit))} {pool.apply(square, (4,))}"


@hazard("SystemExit 16")
def result_whose_unpickling_raises_systemexit(context: Any) -> str:
    with context.Pool(2) as pool:
        return f"{outcome(pool.apply, make, (FailsToUnpickle, SystemExit))} {pool.apply(square, (4,))}"


@hazard("RecursionError 16")
def task_that_recurses_for_ever(context: Any) -> str:
    with context.Pool(2) as pool:
        return f"{outcome(pool.apply, recurse)} {pool.apply(square, (4,))}"


def _initializer(context: Any, how: str) -> str:
    with context.Pool(2, start_badly, (how,)) as pool:
        pending = pool.map_async(square, range(100), 1)
        found = f"{outcome(pending.get)} {outcome(pool.apply, square, (1,))}"
        pool.close()
        pool.join()
    starts = Path("starts").stat().st_size
    return f"{found}, {'few' if starts <= 10 else starts} starts"


@hazard("WorkerDied WorkerDied, few starts")
def initializer_that_raises(context: Any) -> str:
    return _initializer(context, "raises")


@hazard("WorkerDied WorkerDied, few starts")
def initializer_that_exits(context: Any) -> str:
    return _initializer(context, "exits")


@hazard("WorkerDied WorkerDied, few starts")
def initializer_that_is_killed(context: Any) -> str:
    return _initializer(context, "is killed")


@hazard("16 joined")
def fork_in_a_task_whose_child_returns(context: Any) -> str:
    return _forked(context, "return")


@hazard("16 joined")
def fork_in_a_task_whose_child_exits(context: Any) -> str:
    return _forked(context, "exit")


@hazard("16 joined")
def fork_in_a_task_whose_child_calls_sys_exit(context: Any) -> str:
    return _forked(context, "sys.exit")


@hazard("16 joined")
def fork_in_a_task_whose_child_lives_on(context: Any) -> str:
    return _forked(context, "live on")


def _forked(context: Any, then: str) -> str:
    pool = context.Pool(2)
    children = pool.map(fork, [then] * 4, 1)
    squares = pool.map(square, range(5), 1)
    pool.close()
    pool.join()
    return f"{squares[-1]} joined" if 0 not in children else f"children {children}"


@hazard("1 1 [0, 1, 4], joined")
def task_that_closes_standard_streams(context: Any) -> str:
    pool = context.Pool(1)
    found = [pool.apply(close_descriptors, (which,)) for which in ("stdin", "streams")]
    squares = pool.map(square, range(3), 1)
    pool.close()
    pool.join()
    return f"{' '.join(map(str, found))} {squares}, joined"


@hazard("[0, 1, 4], joined")
def task_that_closes_all_descriptors(context: Any) -> str:
    pool = context.Pool(2)
    outcome(pool.apply, close_descriptors, ("all",))  # done, or WorkerDied
    squares = outcome(pool.map, square, range(3), 1)
    while squares == "WorkerDied":  # the other tasks may meet that worker too
        squares = outcome(pool.map, square, range(3), 1)
    pool.close()
    pool.join()
    return f"{squares}, joined"


@hazard("True joined")
def results_of_many_megabytes(context: Any) -> str:
    pool = context.Pool(2)
    sizes = [len(block) for block in pool.imap_unordered(large, [64] * 4)]
    sizes += map(len, pool.map(large, [32] * 4, 1))
    pool.close()
    pool.join()
    return f"{sizes == [64 << 20] * 4 + [32 << 20] * 4} joined"


@hazard("[0, 1, 4] 20 processes")
def workers_recycled_for_each_task(context: Any) -> str:
    with context.Pool(2, maxtasksperchild=1) as pool:
        pids = set(pool.map(worker_pid, range(20), 1))
        return f"{pool.map(square, range(3))} {len(pids)} processes"


def worker_pid(_: object) -> int:
    return os.getpid()

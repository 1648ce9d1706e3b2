"""What has made pools hang, as programs: each does one such thing, goes on using the pool, and ends.

    pool_hazards.py LIBRARY METHOD CASE       print what came of it; LIBRARY is shoal or multiprocessing
    pool_hazards.py --compare METHOD [CASE]   run the cases with both, each with a bound, and print what they did

The programs call the pool without timeouts, as most programs do. They run in a folder of their own, whose files tell
them how far their workers are.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

# A fresh interpreter takes a second to start on a loaded machine, and a worker that ignores SIGTERM is given five.
LIMIT = 40.0


class Hazard(NamedTuple):
    program: Callable[[Any], str]
    expected: str  # what it prints with Shoal


HAZARDS: dict[str, Hazard] = {}


def hazard(expected: str) -> Callable[[Callable[[Any], str]], Callable[[Any], str]]:
    def register(program: Callable[[Any], str]) -> Callable[[Any], str]:
        HAZARDS[program.__name__] = Hazard(program, expected)
        return program

    return register


# How programs and workers know of each other


def mark(name: str, *_: object) -> None:
    Path(f"{name}-{os.getpid()}").touch()


def marks(name: str) -> int:
    return len(list(Path().glob(f"{name}-*")))


def wait_until(condition: Callable[[], object]) -> None:
    """Without a bound: a hang is for the caller of the program to find."""
    while not condition():
        time.sleep(0.005)


def outcome(call: Callable[..., Any], *args: Any) -> str:
    """What a call returns, or the name of what it raises."""
    try:
        return str(call(*args))
    except BaseException as error:
        return type(error).__name__


def outcomes(results: Iterator[Any]) -> list[str]:
    """As `outcome`, of each item, until the iterator ends."""
    found = []
    while (last := outcome(next, results)) != "StopIteration":
        found.append(last)
    return found


# What is done in workers


def square(number: int) -> int:
    return number * number


def sleep_long(*_: object) -> None:
    mark("asleep")
    time.sleep(600)


def sleep_briefly(number: int) -> int:
    mark("awake")
    time.sleep(0.01)
    return number


def kill_self(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


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


def raise_one(kind: type[BaseException], *args: object) -> NoReturn:
    raise kind(*args)


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


def die_stopped(*_: object) -> None:
    mark("stopped")
    os.kill(os.getpid(), signal.SIGSTOP)


def large(megabytes: int) -> bytes:
    return bytes(megabytes << 20)


def recurse() -> NoReturn:
    recurse()


# The programs


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


@hazard("9 9 16, 2 printed")
def callback_that_raises(context: Any) -> str:
    printed: list[object] = []
    threading.excepthook = lambda arguments: printed.append(arguments.exc_type)

    def callback(kind: type[BaseException]) -> Callable[[object], None]:
        def call(_: object) -> None:
            raise kind

        return call

    with context.Pool(2) as pool:
        found = [
            pool.apply_async(square, (3,), callback=callback(kind)).get() for kind in (LookupError, KeyboardInterrupt)
        ]
        return f"{' '.join(map(str, found))} {pool.apply(square, (4,))}, {len(printed)} printed"


@hazard("LookupError 16")
def error_callback_that_raises(context: Any) -> str:
    threading.excepthook = lambda arguments: None

    def callback(error: BaseException) -> None:
        raise error

    with context.Pool(2) as pool:
        failed = pool.apply_async(raise_one, (LookupError,), error_callback=callback)
        return f"{outcome(failed.get)} {pool.apply(square, (4,))}"


@hazard("terminated")
def callback_that_terminates(context: Any) -> str:
    pool = context.Pool(2)
    over = threading.Event()

    def callback(_: object) -> None:
        pool.terminate()
        over.set()

    pool.apply_async(square, (3,), callback=callback)
    over.wait()
    pool.join()
    return "terminated"


@hazard("[16, 256]")
def callback_that_submits(context: Any) -> str:
    results = []
    done = threading.Event()

    def again(value: int) -> None:
        results.append(value)
        if len(results) == 2:
            done.set()
        else:
            pool.apply_async(square, (value,), callback=again)

    with context.Pool(2) as pool:
        pool.apply_async(square, (4,), callback=again)
        done.wait()
        return str(results)


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


def _interrupt_when_asleep() -> None:
    def interrupt() -> None:
        wait_until(lambda: marks("asleep") == 2)
        os.killpg(0, signal.SIGINT)  # as a terminal does

    threading.Thread(target=interrupt, daemon=True).start()


@hazard("KeyboardInterrupt [0, 1, 4], joined")
def interrupt_during_map(context: Any) -> str:
    return _interrupted(context, lambda pool: pool.map(sleep_long, range(2), 1))


@hazard("KeyboardInterrupt [0, 1, 4], joined")
def interrupt_during_imap(context: Any) -> str:
    return _interrupted(context, lambda pool: next(pool.imap(sleep_long, range(2))))


@hazard("KeyboardInterrupt [0, 1, 4], joined")
def interrupt_during_get(context: Any) -> str:
    def apply(pool: Any) -> None:
        first, _ = (pool.apply_async(sleep_long) for _ in range(2))
        first.get()

    return _interrupted(context, apply)


def _interrupted(context: Any, wait: Callable[[Any], Any]) -> str:
    pool = context.Pool(2)
    _interrupt_when_asleep()
    found = f"{outcome(wait, pool)} {pool.map(square, range(3))}"
    pool.close()
    pool.join()
    return f"{found}, joined"


@hazard("terminated")
def terminate_during_traffic(context: Any) -> str:
    pool = context.Pool(2)

    def traffic(number: int) -> None:
        with contextlib.suppress(Exception):
            while True:
                if number % 3 == 0:
                    pool.map(square, range(100), 1)
                elif number % 3 == 1:
                    list(pool.imap_unordered(large, [0] * 20))
                else:
                    [pool.apply_async(square, (n,)) for n in range(100)][-1].get()
                mark(f"thread{number}")

    threads = [threading.Thread(target=traffic, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(marks(f"thread{number}") for number in range(6)))
    pool.terminate()
    pool.join()
    for thread in threads:
        thread.join()
    return "terminated"


@hazard("ProcessError ProcessError ['ProcessError']")
def result_outstanding_at_terminate(context: Any) -> str:
    pool = context.Pool(2)
    single, mapped = pool.apply_async(sleep_long), pool.map_async(sleep_long, range(5), 1)
    iterated = pool.imap(sleep_long, range(5))
    wait_until(lambda: marks("asleep") == 2)
    pool.terminate()
    return f"{outcome(single.get)} {outcome(mapped.get)} {[outcome(next, iterated)]}"


@hazard("terminated")
def terminate_while_an_iterable_blocks(context: Any) -> str:
    def numbers() -> Iterator[int]:
        yield 1
        threading.Event().wait()

    pool = context.Pool(2)
    next(pool.imap(square, numbers()))
    pool.terminate()
    pool.join()
    return "terminated"


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


@hazard("terminated")
def terminate_with_a_stopped_worker(context: Any) -> str:
    pool = context.Pool(2)
    pool.apply_async(die_stopped)
    wait_until(lambda: marks("stopped"))
    pool.terminate()
    pool.join()
    return "terminated"


@hazard("10 threads")
def map_in_many_threads(context: Any) -> str:
    done = []

    def work() -> None:
        for _ in range(5):
            if pool.map(square, range(50), 1) != [n * n for n in range(50)]:
                return
        done.append(1)

    with context.Pool(2) as pool:
        threads = [threading.Thread(target=work) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return f"{len(done)} threads"


@hazard("RuntimeError RuntimeError 16")
def pool_used_by_a_fork(context: Any) -> str:
    with context.Pool(2) as pool:
        pool.apply(square, (1,))
        if (child := os.fork()) == 0:
            Path("found").write_text(
                f"{outcome(pool.apply, square, (4,))} {outcome(lambda: list(pool.imap(square, [1])))}"
            )
            os._exit(0)
        os.waitpid(child, 0)
        return f"{Path('found').read_text()} {pool.apply(square, (4,))}"


@hazard("collected")
def pool_that_is_forgotten(context: Any) -> str:
    pool = context.Pool(2)
    workers = list(pool._pool)
    pool.map(square, range(3))
    del pool
    gc.collect()
    for worker in workers:
        worker.join()
    return "collected"


@hazard("the program ends")
def program_that_ends_with_a_busy_pool(context: Any) -> str:
    global kept
    kept = context.Pool(2)
    kept.map_async(sleep_long, range(10), 1)
    wait_until(lambda: marks("asleep") == 2)
    return "the program ends"


kept: Any = None


@hazard("the program ends")
def program_that_ends_while_threads_map(context: Any) -> str:
    pool = context.Pool(2)

    def work() -> None:
        while True:
            pool.map(square, range(50), 1)
            mark("mapped")

    threading.Thread(target=work, daemon=True).start()
    wait_until(lambda: marks("mapped"))
    return "the program ends"


@hazard("True joined")
def results_of_many_megabytes(context: Any) -> str:
    pool = context.Pool(2)
    sizes = [len(block) for block in pool.imap_unordered(large, [64] * 4)]
    sizes += map(len, pool.map(large, [32] * 4, 1))
    pool.close()
    pool.join()
    return f"{sizes == [64 << 20] * 4 + [32 << 20] * 4} joined"


@hazard("joined, then [0, 1, 4]")
def imap_not_consumed_before_join(context: Any) -> str:
    pool = context.Pool(2)
    squares = pool.imap(square, range(2000))
    pool.close()
    pool.join()
    return f"joined, then {[next(squares) for _ in range(3)]}"


@hazard("the first of endless items, terminated")
def imap_of_an_endless_iterable(context: Any) -> str:
    def numbers() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    with context.Pool(2) as pool:
        squares = pool.imap(square, numbers())
        found = [next(squares) for _ in range(2000)]
    return "the first of endless items, terminated" if found == [n * n for n in range(2000)] else str(found)


@hazard("[4], joined")
def pool_closed_in_a_signal_handler(context: Any) -> str:
    pool = context.Pool(2)
    signal.signal(signal.SIGUSR1, lambda *_: pool.close())
    result = pool.map_async(sleep_briefly, [4])
    os.kill(os.getpid(), signal.SIGUSR1)
    found = result.get()
    pool.join()
    return f"{found}, joined"


@hazard("[0, 1, 4] 20 processes")
def workers_recycled_for_each_task(context: Any) -> str:
    with context.Pool(2, maxtasksperchild=1) as pool:
        pids = set(pool.map(worker_pid, range(20), 1))
        return f"{pool.map(square, range(3))} {len(pids)} processes"


def worker_pid(_: object) -> int:
    return os.getpid()


def run(library: str, method: str, case: str, limit: float = LIMIT) -> str:
    """Run a program in a folder and session of its own. Return what it printed, or how it ended otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, library, method, case],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    ending = "" if process.returncode == 0 else f"status {process.returncode}\n{err}"
    return f"{out.strip()}{ending}"


def compare(method: str, cases: list[str]) -> None:
    for case in cases or HAZARDS:
        for library in ("multiprocessing", "shoal"):
            began = time.monotonic()
            found = run(library, method, case, limit=15.0).strip().splitlines() or [""]
            print(f"{case:42} {library:16} {time.monotonic() - began:5.1f} s  {found[0][:100]}", flush=True)


def main() -> None:
    if sys.argv[1] == "--compare":
        compare(sys.argv[2], sys.argv[3:])
        return
    library, method, case = sys.argv[1:]
    print(HAZARDS[case].program(importlib.import_module(library).get_context(method)), flush=True)


if __name__ == "__main__":
    main()

"""Programs that make pools hang by what they do with them: callbacks, interrupts, ends."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from pool_hazard_support import hazard, large, mark, marks, outcome, sleep_long, square, wait_until


def sleep_briefly(number: int) -> int:
    mark("awake")
    time.sleep(0.01)
    return number


def die_stopped(*_: object) -> None:
    mark("stopped")
    os.kill(os.getpid(), signal.SIGSTOP)


def raise_one(kind: type[BaseException], *args: object) -> NoReturn:
    raise kind(*args)


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

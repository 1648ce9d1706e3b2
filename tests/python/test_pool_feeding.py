"""How items become tasks while results are taken, by whatever way they are taken."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest
import shoal

PATIENCE = 30.0


def length(value: bytes) -> int:
    time.sleep(0.005)
    return len(value)


def identity(value: Any) -> Any:
    return value


def failing(value: Any) -> Any:
    raise ArithmeticError(value)


def count_threads() -> int:
    return len(os.listdir("/proc/self/task"))


# So few are in flight that there is no room each time when a result is waited for.
def test_one_thread_at_most_makes_tasks_of_large_items() -> None:
    large = bytes(4 << 20)
    with shoal.Pool(2) as pool:
        pool.map(identity, range(4))
        before = most = count_threads()
        for _ in range(2):
            for size in pool.imap(length, [large] * 30):
                assert size == len(large)
                most = max(most, count_threads())
        # One more may have been started just before the first was seen.
        assert most <= before + 2
        deadline = time.monotonic() + PATIENCE
        while count_threads() > before:
            assert time.monotonic() < deadline, "a thread is left of calls that have ended"
            time.sleep(0.01)


@pytest.mark.parametrize("buffersize", [1, 2, 3])
def test_errors_make_room_for_who_polls(buffersize: int) -> None:
    with shoal.Pool(1) as pool:
        results = pool.imap(failing, list(range(10)), buffersize=buffersize)
        for expected in range(10):
            with pytest.raises(ArithmeticError, match=f"^{expected}$"):
                results.next(timeout=PATIENCE)
        with pytest.raises(StopIteration):
            results.next(timeout=PATIENCE)


class HandlerError(Exception):
    """What a signal handler raises."""


@pytest.mark.parametrize("interrupted", ["_consumed", "go_on", "_feed"])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_signal_handler_that_raises_while_room_is_noticed_loses_no_result(
    interrupted: str, timeout: float | None
) -> None:
    with shoal.Pool(1) as pool:
        results = pool.imap(identity, list(range(10)), buffersize=2)
        interruptions = 0

        def interrupt(frame: Any, event: str, _arg: Any) -> None:
            nonlocal interruptions
            if event == "call" and frame.f_code.co_name == interrupted:
                interruptions += 1
                if interruptions % 2 == 1:
                    raise HandlerError

        got = []
        sys.setprofile(interrupt)
        try:
            while True:
                sys.setprofile(interrupt)  # which was taken away when it raised
                try:
                    got.append(results.next(timeout))
                except HandlerError:
                    continue
                except StopIteration:
                    break
        finally:
            sys.setprofile(None)
        assert got == list(range(10))
        assert interruptions > 0

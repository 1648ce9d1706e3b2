"""shoal.Barrier."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def outcome_of_wait(barrier: Any) -> Any:
    try:
        return barrier.wait(30)
    except threading.BrokenBarrierError:
        return "broken"


def pass_by(barrier: Any, passed: Any, times: int = 1) -> None:
    for _ in range(times):
        passed.put(outcome_of_wait(barrier))


def meet(barrier: Any, number: int) -> list[Any]:
    """What so many threads get from wait()."""
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(outcome_of_wait(barrier))) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_processes_go_on_together(context: Any) -> None:
    barrier, passed = context.Barrier(3), context.Queue()
    children = [context.Process(target=pass_by, args=(barrier, passed, 2)) for _ in range(2)]
    for child in children:
        child.start()
    for _ in range(2):
        mine = barrier.wait(30)
        assert 0 <= mine < 3
    for child in children:
        child.join()
    assert len([passed.get(timeout=30) for _ in range(4)]) == 4
    assert not barrier.broken


def test_each_party_gets_another_number() -> None:
    barrier = shoal.Barrier(5)
    for _ in range(3):
        assert sorted(meet(barrier, 5)) == [0, 1, 2, 3, 4]
    assert barrier.parties == 5


def test_the_last_to_come_calls_the_action_before_anybody_goes_on() -> None:
    called: list[int] = []
    barrier = shoal.Barrier(3, action=lambda: called.append(barrier.n_waiting))
    assert len(meet(barrier, 3)) == 3
    assert called == [3]
    meet(barrier, 3)
    assert len(called) == 2


def test_an_action_that_raises_breaks_it(eventually: Callable[..., None]) -> None:
    def act() -> None:
        raise RuntimeError("no way on")

    barrier, got = shoal.Barrier(2, act), []
    thread = threading.Thread(target=lambda: got.extend(meet(barrier, 1)))
    thread.start()
    eventually(lambda: barrier.n_waiting == 1)
    with pytest.raises(RuntimeError, match="no way on"):
        barrier.wait()
    thread.join()
    assert got == ["broken"]
    assert barrier.broken


def test_a_wait_for_too_long_breaks_it(eventually: Callable[..., None]) -> None:
    barrier, got = shoal.Barrier(3), []
    thread = threading.Thread(target=lambda: got.extend(meet(barrier, 1)))
    thread.start()
    eventually(lambda: barrier.n_waiting == 1)
    started = time.monotonic()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(0.05)
    assert time.monotonic() - started >= 0.05
    thread.join()
    assert got == ["broken"]
    assert barrier.broken
    assert barrier.n_waiting == 0


def test_a_timeout_can_be_the_barriers_own() -> None:
    barrier = shoal.Barrier(2, timeout=0.05)
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()


def test_abort_breaks_it_until_it_is_reset(eventually: Callable[..., None]) -> None:
    barrier, got = shoal.Barrier(2), []
    thread = threading.Thread(target=lambda: got.extend(meet(barrier, 1)))
    thread.start()
    eventually(lambda: barrier.n_waiting == 1)
    barrier.abort()
    thread.join()
    assert got == ["broken"]
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    assert sorted(meet(barrier, 2)) == [0, 1]


def test_reset_sends_away_those_who_wait(eventually: Callable[..., None]) -> None:
    barrier, got = shoal.Barrier(2), []
    thread = threading.Thread(target=lambda: got.extend(meet(barrier, 1)))
    thread.start()
    eventually(lambda: barrier.n_waiting == 1)
    barrier.reset()
    thread.join()
    assert got == ["broken"]
    assert sorted(meet(barrier, 2)) == [0, 1]


def test_a_killed_party_breaks_it(context: Any, eventually: Callable[..., None]) -> None:
    barrier, passed = context.Barrier(3), context.Queue()
    survivor = context.Process(target=pass_by, args=(barrier, passed))
    victim = context.Process(target=pass_by, args=(barrier, passed))
    survivor.start()
    victim.start()
    eventually(lambda: barrier.n_waiting == 2)
    victim.kill()
    victim.join()
    assert passed.get(timeout=30) == "broken"
    survivor.join()
    assert barrier.broken
    barrier.reset()
    assert sorted(meet(barrier, 3)) == [0, 1, 2]


def be_interrupted(barrier: Any, told: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        barrier.wait(30)
    except KeyboardInterrupt:
        told.put(barrier.n_waiting)


def test_ctrl_c_takes_an_arrival_back(context: Any, eventually: Callable[..., None]) -> None:
    barrier, told = context.Barrier(2), context.Queue()
    child = context.Process(target=be_interrupted, args=(barrier, told))
    child.start()
    eventually(lambda: barrier.n_waiting == 1)
    os.kill(child.pid, signal.SIGINT)
    assert told.get(timeout=30) == 0
    child.join()
    assert not barrier.broken
    assert sorted(meet(barrier, 2)) == [0, 1]


def test_a_copy_is_the_same_barrier() -> None:
    barrier = shoal.Barrier(2, print, 30)
    copy = pickle.loads(pickle.dumps(barrier))
    assert (copy.parties, copy._action, copy._timeout) == (2, print, 30)
    barrier.abort()
    assert copy.broken


def test_it_has_at_least_one_party() -> None:
    for parties in (0, -1, 2**16):
        with pytest.raises(ValueError, match="expected a number from 1 to 65535"):
            shoal.Barrier(parties)
    assert shoal.Barrier(1).wait() == 0


def test_its_repr_tells_how_many_wait() -> None:
    barrier = shoal.Barrier(2)
    assert repr(barrier).endswith(": waiters=0/2>")
    barrier.abort()
    assert repr(barrier).endswith(": broken>")

"""shoal.Event."""

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


def wait_for_go(ready: Any, go: Any, done: Any) -> None:
    ready.put(os.getpid())
    done.put(go.wait(30))


def test_it_wakes_all_who_wait(context: Any) -> None:
    ready, go, done = context.Queue(), context.Event(), context.Queue()
    children = [context.Process(target=wait_for_go, args=(ready, go, done)) for _ in range(3)]
    for child in children:
        child.start()
    for _ in children:
        ready.get(timeout=30)
    go.set()
    assert [done.get(timeout=30) for _ in children] == [True, True, True]
    for child in children:
        child.join()


def test_wait_tells_whether_it_was_set() -> None:
    event = shoal.Event()
    assert not event.is_set()
    started = time.monotonic()
    assert event.wait(0.05) is False
    assert time.monotonic() - started >= 0.05
    event.set()
    assert event.is_set()
    assert event.wait() is True
    assert event.wait(0) is True
    event.clear()
    assert not event.is_set()
    assert event.wait(0) is False


def test_its_repr_tells_whether_it_is_set() -> None:
    event = shoal.Event()
    assert repr(event).endswith(" unset>")
    event.set()
    assert repr(event).endswith(" set>")


def test_a_killed_waiter_keeps_nobody_from_waking(eventually: Callable[..., None]) -> None:
    ready, go, done = shoal.Queue(), shoal.Event(), shoal.Queue()
    victim = shoal.Process(target=wait_for_go, args=(ready, go, done))
    victim.start()
    ready.get(timeout=30)
    victim.kill()
    victim.join()
    woken: list[bool] = []
    thread = threading.Thread(target=lambda: woken.append(go.wait(30)))
    thread.start()
    go.set()
    thread.join()
    assert woken == [True]


@pytest.mark.parametrize("method", ["set", "is_set", "clear", "wait"])
def test_a_signal_handler_that_interrupts_its_methods_may_set_it(run: Callable[..., Any], method: str) -> None:
    # With the standard library's Event, the handler waits for the lock that the method it has interrupted holds.
    ended = run(
        "-c",
        "import itertools, signal, shoal\n"
        "event, times = shoal.Event(), itertools.count()\n"
        "def handle(*_):\n"
        "    event.set()\n"
        "    next(times)\n"
        "signal.signal(signal.SIGALRM, handle)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
        f"method = event.{method}\n"
        "while repr(times) < 'count(200)' or len(repr(times)) < len('count(200)'):\n"
        "    method()\n"
        "    event.clear()\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "event.set()\n"
        "print(event.is_set())\n",
    )
    assert ended.out == "True\n", ended


def test_a_signal_handler_may_end_the_wait_that_it_interrupts() -> None:
    event = shoal.Event()
    before = signal.signal(signal.SIGALRM, lambda *_: event.set())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert event.wait(30) is True
    finally:
        signal.signal(signal.SIGALRM, before)


def be_interrupted(event: Any, told: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        event.wait(30)
    except KeyboardInterrupt:
        told.put("interrupted")


def test_ctrl_c_ends_a_wait(context: Any, eventually: Callable[..., None]) -> None:
    event, told = context.Event(), context.Queue()
    child = context.Process(target=be_interrupted, args=(event, told))
    child.start()
    eventually(lambda: any(waiter.pid == child.pid for info in shoal.debug.locks() for waiter in info.waiters))
    os.kill(child.pid, signal.SIGINT)
    assert told.get(timeout=30) == "interrupted"
    child.join()


def test_a_copy_is_the_same_event() -> None:
    event = shoal.Event()
    copy = pickle.loads(pickle.dumps(event))
    event.set()
    assert copy.is_set()
    copy.clear()
    assert not event.is_set()


def test_who_waits_is_woken_even_if_it_is_cleared_at_once(eventually: Callable[..., None]) -> None:
    event, woken = shoal.Event(), []
    thread = threading.Thread(target=lambda: woken.append(event.wait(30)))
    thread.start()
    eventually(lambda: any(info.kind == "Event" and info.waiters for info in shoal.debug.locks()))
    event.set()
    event.clear()
    thread.join()
    assert woken == [True]

"""shoal.Event."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

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

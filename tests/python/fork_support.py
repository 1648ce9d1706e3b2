"""What a forked process finds, for tests that compare it with this one."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable
from typing import Any

import shoal

PATIENCE = 30.0


def open_descriptors() -> list[str]:
    """What the descriptors of this process lead to."""
    gc.collect()
    links = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return links


def in_fork(function: Callable[[], Any]) -> Any:
    """What the function returns, or the text of what it raises, in a forked process."""
    answer = shoal.Queue()

    def work() -> None:
        try:
            answer.put(function())
        except Exception as error:
            answer.put(f"{type(error).__name__}: {error}")

    child = shoal.get_context("fork").Process(target=work)
    child.start()
    result = answer.get(timeout=PATIENCE)
    child.join()
    return result

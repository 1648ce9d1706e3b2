"""What a worker of a pool knows of itself, and what it does last."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# How long a worker_exit may take. Whoever closes and joins a pool waits for it, and must not wait for ever.
EXIT_SECONDS = 60.0


class Worker:
    """The worker of a pool that this process is.

    `number` counts the pool's workers from 0; one that takes the place of another has its number. `state` is for
    whatever the tasks of this process want to keep: it begins empty in each process, and lives as long as that.
    """

    __slots__ = ("_pid", "number", "state")

    def __init__(self, number: int) -> None:
        self._pid = os.getpid()
        self.number = number
        self.state = SimpleNamespace()

    def __repr__(self) -> str:
        return f"<worker {self.number} of a pool, pid {self._pid}>"


_current: Worker | None = None


def current_worker() -> Worker | None:
    """The worker of a pool that this process is; None in all others, those that a task has started too.

    It is there from the initializer to the `worker_exit` function.
    """
    return _current if _current is not None and _current._pid == os.getpid() else None


def become(number: int) -> None:
    """Be worker `number`, from here on."""
    global _current
    _current = Worker(number)


def leave(worker_exit: Callable[[], object] | None) -> None:
    """The worker ends in order: call what was to be called last.

    What it raises is printed. If it does not return in time, the process ends with exit status 1, after a trace that
    says where it was.
    """
    if worker_exit is None:
        return
    import faulthandler

    # The watchdog is a thread that needs no interpreter, so it works whatever `worker_exit` is waiting for.
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        faulthandler.dump_traceback_later(EXIT_SECONDS, exit=True, file=_standard_error(silent))
        worker_exit()
    except BaseException as error:
        _print(error, worker_exit)
    finally:
        faulthandler.cancel_dump_traceback_later()
        os.close(silent)


def _standard_error(otherwise: int) -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return otherwise  # it is None, closed, or something without a descriptor


def _print(error: BaseException, worker_exit: Callable[[], object]) -> None:
    import traceback

    name = getattr(worker_exit, "__qualname__", None) or repr(worker_exit)
    if sys.stderr is not None:
        print(f"worker_exit {name} failed in {_current}:", file=sys.stderr)
        traceback.print_exception(type(error), error, error.__traceback__)

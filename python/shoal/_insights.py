"""What a pool's workers have done so far."""

from __future__ import annotations

from dataclasses import dataclass

from shoal._exit_codes import in_bytes


@dataclass(frozen=True)
class WorkerInsight:
    """One worker of a pool: its process, and what has been done under its number, by others before it too.

    Times are in seconds. They are what the wall clock says: a worker that runs a task is busy, whatever that waits for.
    """

    worker: int
    """Its number in the pool."""
    pid: int | None
    """Its process; None while there is none."""
    restarts: int
    """How often another process has taken the place of the one before."""
    tasks: int
    """Tasks that were finished, whether or not they failed; a chunk of `map` is one."""
    busy: float
    """Time with a task, from when it was taken to when its outcome was sent."""
    idle: float
    """Time spent waiting for tasks."""
    startup: float | None
    """How long the present process took from being started to the end of its initializer; None: it is not yet there."""
    bytes_in: int
    """Of functions and arguments."""
    bytes_out: int
    """Of results."""


class Insights(list[WorkerInsight]):
    """One `WorkerInsight` for each worker; as `str`, a table of them."""

    __slots__ = ()

    def __str__(self) -> str:
        rows = [["worker", "pid", "tasks", "busy", "idle", "start-up", "in", "out", "restarts"]]
        rows += [_cells(each) for each in self]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


def _cells(of: WorkerInsight) -> list[str]:
    return [
        str(of.worker),
        "-" if of.pid is None else str(of.pid),
        str(of.tasks),
        _share(of.busy, of.busy + of.idle),
        _share(of.idle, of.busy + of.idle),
        "-" if of.startup is None else f"{of.startup * 1000:.1f} ms",
        in_bytes(of.bytes_in),
        in_bytes(of.bytes_out),
        str(of.restarts),
    ]


def _share(part: float, whole: float) -> str:
    return f"{part:.2f} s ({100 * part / whole:.0f}%)" if whole > 0 else f"{part:.2f} s"

"""How all the counters with a window are tested, whatever they are written in."""

from __future__ import annotations

from programs import Program, exists
from screen import wait_until

# How a user ends a counter: its button, which is the lowest thing in the window, a key, or the frame of the window.
ENDINGS = {
    "click": lambda program: program.click(program.window().size[0] // 2, -30),
    "key": lambda program: program.press("Escape"),
    "window": Program.close,
}


def assert_it_counts_and_ends(program: Program, ending: str) -> None:
    """A number is seen to grow in the window, and what a user does ends it, its worker and nothing else."""
    program.numbers(4)
    workers = program.workers()
    assert workers
    ENDINGS[ending](program)
    assert program.wait() == 0, program.err
    for worker in workers:
        wait_until(lambda worker=worker: not exists(worker), f"worker {worker} has ended")
    assert "Traceback" not in program.err
    assert "rror" not in program.err

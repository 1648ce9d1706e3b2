"""The command that executes this interpreter for a child, or for the fork server."""

from __future__ import annotations

import os
import sys

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MARK = "--multiprocessing-fork"

# As with `python -c` otherwise, the first entry of sys.path would be the current directory, and what is there comes
# before the standard library. Shoal itself may have been found by an entry that only this process has.
_PROGRAM = (
    "import sys; sys.path = [*filter(None, sys.path), {folder!r}]; from shoal.{module} import main; main({channel})"
)

_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def line(module: str) -> tuple[bytes, list[bytes]]:
    """The path and the arguments of a program that calls `main` of that module of shoal.

    In a frozen program it is the program itself, which does that in `freeze_support`.
    """
    arguments: Sequence[str]
    if getattr(sys, "frozen", False):
        path = os.fsencode(sys.executable)
        arguments = [MARK, f"shoal.{module}={_core.START_CHANNEL}"]
    else:
        from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

        path = _executable()
        text = _PROGRAM.format(folder=_FOLDER, module=module, channel=_core.START_CHANNEL)
        arguments = [*_args_from_interpreter_flags(), "-c", text, MARK]
    return path, [path, *map(os.fsencode, arguments)]


def _executable() -> bytes:
    """What `set_executable` was told, or this interpreter."""
    spawn = _stdlib.loaded_submodule("spawn")
    chosen = sys.executable if spawn is None else spawn.get_executable()
    if not chosen:
        raise ValueError("there is no interpreter to execute: sys.executable is empty; tell set_executable() of one")
    return os.fsencode(chosen)


def run_frozen(arguments: list[str]) -> None:
    """Be the child, or the fork server, that a frozen program was executed for; otherwise return."""
    if len(arguments) < 3 or arguments[1] != MARK:
        return
    name, _, channel = arguments[2].partition("=")
    if name == "shoal._child":
        from shoal import _child

        _child.main(int(channel))
    elif name == "shoal._fork_server":
        from shoal import _fork_server

        _fork_server.main(int(channel))
        sys.exit()

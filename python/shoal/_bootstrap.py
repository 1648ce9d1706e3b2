"""What a child does with its process object, whatever it was started by, and how it ends.

A fork shares its parent's memory until it writes there, and to Python even a look at an object is a write. Each page
that is written costs more than the code that writes it; so what the parent can do beforehand, it does.
"""

from __future__ import annotations

import atexit
import faulthandler
import itertools
import os
import sys
import threading

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, TextIO

# From 3.13 on, functions that a child registers with atexit run at its end, before those of multiprocessing.
_RUNS_ATEXIT = sys.version_info >= (3, 13)

_NO_TRACE = os.environ.get("SHOAL_FAULTHANDLER") == "0"


def run(process: Any, parent_sentinel: int) -> int:
    """Be the process that `process` stands for, to the end of its `run`. Returns the exit code."""
    standard = _stdlib.process
    try:
        if process._start_method is not None:
            _stdlib.context._force_start_method(process._start_method)
        standard._process_counter = itertools.count(1)
        standard._children = set()
        old_process = standard._current_process
        standard._current_process = process
        standard._parent_process = standard._ParentProcess(process._parent_name, process._parent_pid, parent_sentinel)
        threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
        try:
            process._after_fork()
        finally:
            del old_process  # not before the parent's after-fork functions have run
        _log("child process calling self.run()")
        if _RUNS_ATEXIT:
            process.run()
        else:
            try:
                process.run()
            finally:
                exit_function()
        code = 0
    except SystemExit as error:
        code = _code_of(error)
    except BaseException:
        import traceback

        code = 1
        sys.stderr.write(f"Process {process.name}:\n")
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        _log("process exiting with exitcode %d", code)
        flush_std_streams()
    return code


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    sys.stderr.write(f"{error.code}\n")
    return 1


def run_fork(body: Callable[..., int], *arguments: Any) -> NoReturn:
    """In a fork: end with the exit code that `body` returns, without what the parent has registered for its own end."""
    code = 1
    try:
        if _RUNS_ATEXIT:
            atexit._clear()
        code = body(*arguments)
    except SystemExit as error:
        code = _code_of(error)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        flush_std_streams()
    finally:
        if _RUNS_ATEXIT:
            try:
                atexit._run_exitfuncs()
            finally:
                exit_function()
        os._exit(code & 0xFF)


def exit_function() -> None:
    """End daemonic children and wait for the others, with the finalizers if anybody has registered some."""
    if (util := _stdlib.loaded_submodule("util")) is not None:
        util._exit_function()
    elif _stdlib.process._children:
        for child in _stdlib.process.active_children():
            if child.daemon:
                child._popen.terminate()
        for child in _stdlib.process.active_children():
            child.join()


# In this process too. Later than at the import of multiprocessing.util, whose own does the same, it does nothing.
atexit.register(exit_function)


def where_to_trace() -> int:
    """The descriptor for the trace of a crash; -1 if there is to be none.

    That is so if the program has started with SHOAL_FAULTHANDLER=0 in its environment, and if it uses faulthandler
    itself.
    """
    if _NO_TRACE or faulthandler.is_enabled():
        return -1
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return -1  # it is None, closed, or something without a descriptor


def trace_crashes(descriptor: int) -> None:
    """Have a crash of this process print where it was."""
    if descriptor >= 0:
        faulthandler.enable(descriptor)


def set_name(process: Any) -> None:
    """Show a name that the program has chosen to ps and top as well."""
    if process._chosen_name is not None:
        _core.set_process_name(process._chosen_name.encode(errors="replace"))


def prepare_empty_stdin() -> None:
    """Before a fork: make what is to be the child's sys.stdin."""
    global _empty_stdin
    if _empty_stdin is None or _empty_stdin.closed:
        _empty_stdin = _text_from(os.open(os.devnull, os.O_RDONLY))


def close_stdin() -> None:
    """In a fork: let sys.stdin be empty, since it is the parent's to read. The descriptor below stays what it is."""
    global _parents_stdin
    if sys.stdin is None:
        return
    if sys.stdin is sys.__stdin__:
        _parents_stdin = sys.stdin  # nobody else has it any more, so it need not be closed
        sys.__stdin__ = _empty_stdin  # type: ignore[assignment,misc]
    else:
        _close(sys.stdin)
    assert _empty_stdin is not None
    sys.stdin = _empty_stdin


_empty_stdin: TextIO | None = None
_parents_stdin: TextIO | None = None


def reopen_stdin() -> None:
    """In a program that was executed, whose standard input is empty: let sys.stdin be as in other children."""
    if sys.stdin is not None:
        sys.stdin = _text_from(0)


def _text_from(descriptor: int) -> TextIO:
    return open(descriptor, encoding="utf-8", closefd=False)


def _close(stream: TextIO) -> None:
    try:
        stream.close()
    except (OSError, ValueError):
        return


def flush_std_streams() -> None:
    _flush(sys.stdout)
    _flush(sys.stderr)


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except (AttributeError, ValueError):
        return


def _log(message: str, *arguments: object) -> None:
    if (util := _stdlib.loaded_submodule("util")) is not None:
        util.info(message, *arguments)

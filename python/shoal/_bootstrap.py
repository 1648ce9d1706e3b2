"""What a child does with its process object, whatever it was started by, and how it ends."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


class _ignoring:  # noqa: N801
    """contextlib.suppress, without the import, which every child would have to wait for."""

    def __init__(self, *errors: type[Exception]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, frames: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


# From 3.13 on, functions that a child registers with atexit run at its end, before those of multiprocessing.
_RUNS_ATEXIT = sys.version_info >= (3, 13)


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
        if error.code is None:
            code = 0
        elif isinstance(error.code, int):
            code = error.code
        else:
            sys.stderr.write(f"{error.code}\n")
            code = 1
    except BaseException:
        import traceback

        code = 1
        sys.stderr.write(f"Process {process.name}:\n")
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        _log(f"process exiting with exitcode {code}")
        flush_std_streams()
    return code


def run_fork(body: Callable[[], int]) -> NoReturn:
    """In a fork: end with the exit code that `body` returns, without what the parent has registered for its own end."""
    code = 1
    try:
        if _RUNS_ATEXIT:
            atexit._clear()
            atexit.register(exit_function)
        code = body()
    finally:
        if _RUNS_ATEXIT:
            atexit._run_exitfuncs()
        os._exit(code & 0xFF)


def exit_function() -> None:
    """End daemonic children and wait for the others, with the finalizers if anybody has registered some."""
    if (util := _stdlib.loaded_submodule("util")) is not None:
        util._exit_function()
        return
    for child in _stdlib.process.active_children():
        if child.daemon:
            child._popen.terminate()
    for child in _stdlib.process.active_children():
        child.join()


# In this process too. Later than at the import of multiprocessing.util, whose own does the same, it does nothing.
atexit.register(exit_function)


def enable_crash_trace() -> None:
    """Have a crash of this process print where it was, unless SHOAL_FAULTHANDLER=0 or the program has seen to it."""
    import faulthandler

    if os.environ.get("SHOAL_FAULTHANDLER") == "0" or faulthandler.is_enabled():
        return
    # sys.stderr may be None, closed, or something without a descriptor.
    with _ignoring(AttributeError, OSError, RuntimeError, ValueError):
        faulthandler.enable(sys.stderr)


def set_name(process: Any) -> None:
    """Show a name that the program has chosen to ps and top as well."""
    if process._chosen_name is not None:
        _core.set_process_name(process._chosen_name.encode(errors="replace"))


def close_stdin() -> None:
    """In a fork: let sys.stdin be empty, since it is the parent's to read. The descriptor below stays what it is."""
    if sys.stdin is None:
        return
    with _ignoring(OSError, ValueError):
        sys.stdin.close()
    with _ignoring(OSError, ValueError):
        _open_stdin(os.open(os.devnull, os.O_RDONLY))


def reopen_stdin() -> None:
    """In a program that was executed, whose standard input is empty: let sys.stdin be as in other children."""
    with _ignoring(OSError, ValueError):
        _open_stdin(0)


def _open_stdin(descriptor: int) -> None:
    sys.stdin = open(descriptor, encoding="utf-8", closefd=False)  # noqa: SIM115


def flush_std_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        with _ignoring(AttributeError, ValueError):
            stream.flush()


def _log(message: str) -> None:
    if (util := _stdlib.loaded_submodule("util")) is not None:
        util.info(message)

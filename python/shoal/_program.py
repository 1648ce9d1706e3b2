"""Running a program as `python` itself does, but for the meaning of `import multiprocessing`."""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import pkgutil
import runpy
import sys
from types import ModuleType

import shoal
from shoal import alias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import CodeType, TracebackType
    from typing import Any, NoReturn

USAGE = """\
usage: python -m shoal program.py [argument ...]
       python -m shoal -m module [argument ...]
       python -m shoal -c command [argument ...]
       python -m shoal --status | --version | --help

Runs an unmodified Python program with `import multiprocessing` meaning shoal, in its child processes too.
Options of Python itself go before: python -X dev -m shoal program.py

  program.py   a file, a directory or zip file with a __main__.py, or - for standard input
  -m module    a module or package, as with python -m
  -c command   a program passed as a string
  --status     print which names are Shoal's and which still the standard library's
  --version    print the version
  --help       print this
"""


def main(arguments: list[str]) -> None:
    """Do what the command line says. Ends with SystemExit, or with the exception that ends the program."""
    if not arguments:
        _fail("no program given\n" + USAGE, 2)
    first, *rest = arguments
    if first in ("-h", "--help"):
        print(USAGE, end="")
    elif first in ("-V", "--version"):
        print(f"shoal {shoal.__version__}")
    elif first == "--status":
        from shoal._status import print_status

        print_status()
    elif first[:2] in ("-m", "-c"):
        # Like python, take -mname for -m name.
        operand = first[2:] or (rest.pop(0) if rest else "")
        if not operand:
            _fail(f"argument expected for the {first} option\n" + USAGE, 2)
        (_run_module if first[:2] == "-m" else _run_command)(operand, rest)
    elif first.startswith("-") and first != "-":
        _fail(f"unknown option {first}\n" + USAGE, 2)
    elif first == "-":
        _run_text(sys.stdin.read(), "<stdin>", ["-", *rest])
    else:
        _run_path(first, rest)


def _run_path(path: str, arguments: list[str]) -> None:
    absolute = os.path.abspath(path)
    sys.argv = [path, *arguments]
    importer = pkgutil.get_importer(absolute)
    if importer is not None:  # a directory or a zip file
        spec = importer.find_spec("__main__", None)
        if spec is None:
            _fail(f"can't find '__main__' module in {path!r}", 1)
        _set_first_path(absolute)
        _run_spec(spec, lambda: spec.loader.get_code("__main__"))  # type: ignore[union-attr]
        return
    try:
        with open(absolute, "rb") as file:
            source = file.read()
    except OSError as error:
        _fail(f"can't open file {absolute!r}: [Errno {error.errno}] {error.strerror}", 2)
    _set_first_path(os.path.dirname(os.path.realpath(absolute)))
    if absolute.endswith(".pyc"):
        compiled = importlib.machinery.SourcelessFileLoader("__main__", absolute)
        _run(lambda: compiled.get_code("__main__"), __file__=absolute, __cached__=None, __loader__=compiled)
    else:
        loader = importlib.machinery.SourceFileLoader("__main__", absolute)
        _run(lambda: _compile(source, absolute), __file__=absolute, __cached__=None, __loader__=loader)


def _run_module(name: str, arguments: list[str]) -> None:
    sys.argv = ["-m", *arguments]
    try:
        # As pdb and trace do; `runpy.run_module` would run it in a module that is gone when it ends.
        _, spec, code = runpy._get_module_details(name, _NotFoundError)  # type: ignore[attr-defined]
    except _NotFoundError as error:
        _fail(str(error), 1)
    sys.argv[0] = spec.origin
    _run_spec(spec, lambda: code)


class _NotFoundError(Exception):
    """There is no such module, or it is none that can be run."""


def _run_command(command: str, arguments: list[str]) -> None:
    _run_text(command, "<string>", ["-c", *arguments])


def _run_text(text: str, name: str, argv: list[str]) -> None:
    sys.argv = argv
    _set_first_path("")
    _run(lambda: _compile(text, name))


def _run_spec(spec: ModuleSpec, load: Callable[[], Any]) -> None:
    _run(
        load,
        __spec__=spec,
        __loader__=spec.loader,
        __file__=spec.origin,
        __cached__=spec.cached,
        __package__=spec.parent,
    )


def _compile(source: str | bytes, name: str) -> CodeType:
    return compile(source, name, "exec", dont_inherit=True)


def _run(load: Callable[[], Any], **attributes: Any) -> None:
    """Execute what `load` returns as the module __main__, which stays that to the end of the process."""
    alias.install()
    module = ModuleType("__main__")
    module.__dict__.update(attributes, __builtins__=builtins)
    _keep_alive.append(sys.modules["__main__"])
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module
    try:
        exec(load(), module.__dict__)
    except SystemExit:
        raise
    except BaseException:
        _hide_own_frames(module)
        raise


_keep_alive: list[ModuleType] = []


def _hide_own_frames(module: ModuleType) -> None:
    """Have the exception that is about to end the process printed as if the program had been run without us."""
    print_exception = sys.excepthook

    def print_shortened(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
        while frames is not None and frames.tb_frame.f_globals is not module.__dict__:
            frames = frames.tb_next
        # None of the program's frames is left if it could not even be compiled.
        print_exception(kind, error.with_traceback(frames), frames)

    sys.excepthook = print_shortened


def _set_first_path(entry: str) -> None:
    """Replace what `python -m` has put first in sys.path, unless it was told not to."""
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path[0] = entry


def _fail(message: str, status: int) -> NoReturn:
    sys.stderr.write(f"{sys.executable} -m shoal: {message.rstrip()}\n")
    raise SystemExit(status)

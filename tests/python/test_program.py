"""`python -m shoal`: programs run as `python` runs them, with multiprocessing meaning shoal."""

from __future__ import annotations

import py_compile
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHOW = """\
import sys

print(__name__, sys.argv, sys.path[0], globals().get("__file__"), __package__, getattr(__spec__, "name", None))
print(sys.modules["__main__"].__dict__ is globals(), sys.modules["multiprocessing"].__name__)
"""


def test_a_file_runs_as_with_python(run: Callable[..., Any], program: Any) -> None:
    path = program(SHOW, "folder/show.py")
    ended = run("-m", "shoal", "folder/show.py", "-a", "--status", "b")
    assert ended.status == 0, ended
    line, alias = ended.out.splitlines()
    assert line == f"__main__ ['folder/show.py', '-a', '--status', 'b'] {path.parent} {path} None None"
    assert alias == "True shoal"


def test_a_module_runs_as_with_python(run: Callable[..., Any], program: Any, tmp_path: Path) -> None:
    program("", "package/__init__.py")
    show = program(SHOW, "package/show.py")
    main = program(SHOW, "package/__main__.py")
    ended = run("-m", "shoal", "-m", "package.show", "x")
    assert ended.out.splitlines() == [
        f"__main__ ['{show}', 'x'] {tmp_path} {show} package package.show",
        "True shoal",
    ], ended
    for arguments in (["-m", "package"], ["-mpackage"]):
        ended = run("-m", "shoal", *arguments, "x")
        assert ended.out.splitlines() == [
            f"__main__ ['{main}', 'x'] {tmp_path} {main} package package.__main__",
            "True shoal",
        ], ended


def test_a_directory_and_a_zip_file_run_as_with_python(run: Callable[..., Any], program: Any, tmp_path: Path) -> None:
    main = program(SHOW, "app/__main__.py")
    ended = run("-m", "shoal", "app", "x")
    assert ended.out.splitlines()[0] == f"__main__ ['app', 'x'] {main.parent} {main}  __main__", ended
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.write(main, "__main__.py")
    ended = run("-m", "shoal", "app.zip", "x")
    zipped = tmp_path / "app.zip"
    assert ended.out.splitlines()[0] == f"__main__ ['app.zip', 'x'] {zipped} {zipped}/__main__.py  __main__", ended


def test_a_compiled_file_runs(run: Callable[..., Any], program: Any) -> None:
    source = program("print('compiled')")
    compiled = source.with_suffix(".pyc")
    py_compile.compile(str(source), cfile=str(compiled), doraise=True)
    source.unlink()
    assert run("-m", "shoal", "program.pyc").out == "compiled\n"


def test_a_command_and_standard_input_run(run: Callable[..., Any]) -> None:
    ended = run("-m", "shoal", "-c", SHOW, "x")
    assert ended.out.splitlines() == ["__main__ ['-c', 'x']  None None None", "True shoal"], ended
    ended = run("-m", "shoal", "-", "x", stdin=SHOW)
    assert ended.out.splitlines() == ["__main__ ['-', 'x']  None None None", "True shoal"], ended


def test_a_file_that_does_not_exist_is_reported_as_python_does(run: Callable[..., Any], tmp_path: Path) -> None:
    ended = run("-m", "shoal", "nowhere.py")
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err == (
        f"{sys.executable} -m shoal: can't open file '{tmp_path}/nowhere.py': [Errno 2] No such file or directory\n"
    )


def test_a_module_that_does_not_exist_is_reported_as_python_does(run: Callable[..., Any], program: Any) -> None:
    ended = run("-m", "shoal", "-m", "no_such_module")
    assert (ended.status, ended.err) == (1, f"{sys.executable} -m shoal: No module named no_such_module\n")
    program("", "package/__init__.py")
    ended = run("-m", "shoal", "-m", "package")
    assert ended.status == 1
    assert "'package' is a package and cannot be directly executed" in ended.err
    program("", "empty/readme")
    ended = run("-m", "shoal", "empty")
    assert (ended.status, ended.err) == (1, f"{sys.executable} -m shoal: can't find '__main__' module in 'empty'\n")


@pytest.mark.parametrize("arguments", [[], ["-m"], ["-c"], ["--no-such-option"], ["-x", "program.py"]])
def test_a_wrong_command_line_is_explained(run: Callable[..., Any], arguments: list[str]) -> None:
    ended = run("-m", "shoal", *arguments)
    assert ended.status == 2
    assert "usage: python -m shoal program.py" in ended.err


def test_help_and_version(run: Callable[..., Any]) -> None:
    assert run("-m", "shoal", "--help").out.startswith("usage: python -m shoal")
    assert run("-m", "shoal", "--version").out.startswith("shoal 0.")


@pytest.mark.parametrize(("statement", "status"), [("sys.exit()", 0), ("sys.exit(3)", 3), ("sys.exit('why')", 1)])
def test_the_exit_status_is_the_programs(run: Callable[..., Any], statement: str, status: int) -> None:
    assert run("-m", "shoal", "-c", f"import sys; {statement}").status == status


def test_a_traceback_shows_the_program_only(run: Callable[..., Any], program: Any) -> None:
    program("""\
        def divide():
            return 1 / 0

        divide()
        """)
    ended = run("-m", "shoal", "program.py")
    assert ended.status == 1
    assert ended.err == run("program.py").err
    program("x = = 1\n")
    assert run("-m", "shoal", "program.py").err == run("program.py").err


def test_the_programs_own_excepthook_is_used(run: Callable[..., Any]) -> None:
    hook = "import sys; sys.excepthook = lambda kind, error, frames: print('hooked', error); raise ValueError('x')"
    assert run("-m", "shoal", "-c", hook).out == "hooked x\n"


def test_ctrl_c_ends_it_as_it_ends_python() -> None:
    command = "import time; print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-m", "shoal", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs, and so perhaps these tests, with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert err.endswith("KeyboardInterrupt\n")
    assert child.returncode == -signal.SIGINT


def test_main_is_alive_to_the_very_end(run: Callable[..., Any]) -> None:
    ended = run("-m", "shoal", "-c", "import atexit\nname = 'still known'\natexit.register(lambda: print(name))")
    assert ended.out == "still known\n", ended


def test_options_of_python_and_isolation_are_respected(run: Callable[..., Any], program: Any) -> None:
    path = program("import sys; print(sys.path[0]); assert sys.flags.isolated; assert not __debug__", "folder/show.py")
    ended = run("-I", "-O", "-m", "shoal", "folder/show.py")
    assert ended.status == 0, ended
    assert ended.out.strip() != str(path.parent)

"""Children of programs of every kind: the main module, and the meaning of `import multiprocessing`, arrive in them."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

METHODS = ["fork", "spawn", "forkserver"]

# Does not define what the children call: a program without a file cannot be imported by them.
WITHOUT_FILE = """
import multiprocessing, operator
context = multiprocessing.get_context({method!r})
with context.Pool(1) as pool:
    print(multiprocessing.__name__, pool.apply(operator.mul, (6, 7)))
"""

WITH_FILE = """
import multiprocessing, sys

def tell(out):
    out.put((multiprocessing.__name__, __name__, sys.argv[1:]))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    out = context.Queue()
    child = context.Process(target=tell, args=(out,))
    child.start()
    print(*out.get(timeout=30))
    child.join()
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_command_starts_processes(run: Callable[..., Any], method: str) -> None:
    assert run("-m", "shoal", "-c", WITHOUT_FILE.format(method=method)).out == "shoal 42\n"


@pytest.mark.parametrize("method", METHODS)
def test_a_program_from_standard_input_starts_processes(run: Callable[..., Any], method: str) -> None:
    assert run("-m", "shoal", "-", stdin=WITHOUT_FILE.format(method=method)).out == "shoal 42\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_import_the_main_script(run: Callable[..., Any], program: Any, method: str) -> None:
    ended = run("-m", "shoal", str(program(WITH_FILE)), method, "more")
    assert ended.out == f"shoal __mp_main__ ['{method}', 'more']\n", ended


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_import_the_main_module_of_a_package(run: Callable[..., Any], program: Any, method: str) -> None:
    program("", "pack/__init__.py")
    program(WITH_FILE, "pack/tool.py")
    ended = run("-m", "shoal", "-m", "pack.tool", method)
    assert ended.out == f"shoal __mp_main__ ['{method}']\n", ended


@pytest.mark.parametrize("kind", ["zip file", "folder"])
@pytest.mark.parametrize("method", METHODS)
def test_programs_in_a_zip_file_or_a_folder_start_processes(
    run: Callable[..., Any], tmp_path: Path, method: str, kind: str
) -> None:
    files = {
        "work.py": "import multiprocessing\ndef tell(out): out.put(multiprocessing.__name__)\n",
        "__main__.py": "import multiprocessing, sys, work\n"
        "context = multiprocessing.get_context(sys.argv[1])\n"
        "out = context.Queue()\n"
        "child = context.Process(target=work.tell, args=(out,)); child.start()\n"
        "print(out.get(timeout=30)); child.join()\n",
    }
    path = tmp_path / "app"
    if kind == "folder":
        path.mkdir()
        for name, text in files.items():
            (path / name).write_text(text)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
    ended = run("-m", "shoal", str(path), method)
    assert ended.out == "shoal\n", ended


@pytest.mark.parametrize("method", METHODS)
def test_a_notebooks_main_module_has_neither_file_nor_spec(run: Callable[..., Any], program: Any, method: str) -> None:
    program("import multiprocessing\ndef tell(out): out.put(multiprocessing.__name__)\n", "work.py")
    ended = run(
        "-c",
        "import sys, types\n"
        "main = types.ModuleType('__main__')\n"  # __spec__ is None, and there is no __file__
        "sys.modules['__main__'] = main\n"
        "import shoal, work\n"
        f"context = shoal.get_context('{method}')\n"
        "out = context.Queue()\n"
        "child = context.Process(target=work.tell, args=(out,)); child.start()\n"
        "print(out.get(timeout=30)); child.join(); print(child.exitcode)\n",
    )
    assert ended.out == "multiprocessing\n0\n", ended


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_frozen_program_is_executed_again_for_its_children(
    run: Callable[..., Any], program: Any, tmp_path: Path, method: str
) -> None:
    # A program is frozen if sys.frozen says so; sys.executable is then the program itself.
    path = program("""
        import os, sys
        sys.frozen = True
        sys.executable = os.environ["FROZEN"]
        import shoal

        def tell(out):
            out.put((os.getppid() != os.getpid(), __name__))

        if __name__ == "__main__":
            shoal.freeze_support()
            context = shoal.get_context(sys.argv[1])
            out = context.Queue()
            child = context.Process(target=tell, args=(out,))
            child.start()
            print(*out.get(timeout=30))
            child.join()
            print(child.exitcode)
    """)
    executable = tmp_path / "frozen"
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} {path} "$@"\n')
    executable.chmod(0o755)
    ended = run(str(path), method, env={"FROZEN": str(executable)})
    assert ended.out.endswith("\n0\n"), ended
    assert ended.out.startswith("True "), ended


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_a_main_guard_is_told_so_and_is_no_fork_bomb(
    run: Callable[..., Any], program: Any, method: str
) -> None:
    path = program(f"""
        import shoal
        child = shoal.get_context("{method}").Process(target=print, args=("ran",))
        child.start()
        child.join()
        print(child.exitcode)
    """)
    ended = run(str(path))
    assert "before the\n        current process has finished its bootstrapping phase" in ended.err, ended
    assert ended.out == "1\n", ended


def test_the_fork_server_imports_the_main_module_once_for_all(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import os, shoal
        with open("imports", "a") as file:
            print(os.getpid(), file=file)

        def nothing():
            pass

        if __name__ == "__main__":
            for _ in range(3):
                child = shoal.get_context("forkserver").Process(target=nothing)
                child.start()
                child.join()
                assert child.exitcode == 0
            print(len(open("imports").readlines()))
    """)
    assert run(str(path)).out == "2\n"

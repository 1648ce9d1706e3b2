"""What the README tells C++ programmers to write and to run does what it says, in an installed prefix."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from support import ROOT, run

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


EXAMPLES: list[tuple[str, str]] = re.findall(r"```cpp\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)


@pytest.fixture(params=EXAMPLES, ids=["fork", "pool", "start_methods"])
def example(request: pytest.FixtureRequest) -> tuple[str, str]:
    """One of the README's C++ examples, and what it prints."""
    chosen: tuple[str, str] = request.param
    return chosen


@pytest.fixture
def project(tmp_path: Path, example: tuple[str, str]) -> Path:
    """A folder with the example."""
    (tmp_path / "program.cpp").write_text(example[0])
    return tmp_path


def test_every_cpp_example_says_what_it_prints() -> None:
    assert [source for source, _ in EXAMPLES] == blocks("cpp")


@pytest.mark.parametrize("way", ["find_package", "add_subdirectory"])
def test_the_cpp_example_builds_with_the_cmake_lines_and_prints_what_it_says(
    prefix: Path, project: Path, example: tuple[str, str], way: str
) -> None:
    (lines,) = (block for block in blocks("cmake") if way in block)
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(consumer LANGUAGES CXX)\nadd_executable(program program.cpp)\n"
        + lines
    )
    if way == "add_subdirectory":
        for name in ("CMakeLists.txt", "cmake", "include", "src"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (project / "shoal").mkdir(exist_ok=True)
            copy(ROOT / name, project / "shoal" / name)
    run("cmake", "-S", project, "-B", project / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", project / "build", "--parallel", os.cpu_count() or 1)
    assert run(project / "build/program") == example[1]


def test_the_cpp_example_builds_with_the_pkg_config_line(prefix: Path, project: Path, example: tuple[str, str]) -> None:
    (line,) = (block for block in blocks("sh") if "pkg-config" in block)
    (metadata,) = prefix.rglob("shoal.pc")
    run("sh", "-ec", line, cwd=project, env={**os.environ, "PKG_CONFIG_PATH": str(metadata.parent)})
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(metadata.parent.parent)}
    assert run(project / "a.out", env=libraries) == example[1]

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


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the README's C++ example."""
    (source,) = blocks("cpp")
    (tmp_path / "program.cpp").write_text(source)
    return tmp_path


def expected_output() -> str:
    (output,) = re.findall(r"```cpp\n.*?```\n\n```text\n(.*?)```", README, re.DOTALL)
    return str(output)


@pytest.mark.parametrize("way", ["find_package", "add_subdirectory"])
def test_the_cpp_example_builds_with_the_cmake_lines_and_prints_what_it_says(
    prefix: Path, project: Path, way: str
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
    assert run(project / "build/program") == expected_output()


def test_the_cpp_example_builds_with_the_pkg_config_line(prefix: Path, project: Path) -> None:
    (line,) = (block for block in blocks("sh") if "pkg-config" in block)
    (metadata,) = prefix.rglob("shoal.pc")
    run("sh", "-ec", line, cwd=project, env={**os.environ, "PKG_CONFIG_PATH": str(metadata.parent)})
    libraries = {**os.environ, "LD_LIBRARY_PATH": str(metadata.parent.parent)}
    assert run(project / "a.out", env=libraries) == expected_output()

"""Projects outside the tree build against an installed Shoal, and what they build runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import ROOT, run

CONSUMERS = Path(__file__).parent / "consumer"
EXPECTED = "from another process 14"


def consumer(name: str, folder: Path) -> Path:
    """Copy a consumer project to where no path of the tree leads into it."""
    project = folder / name
    shutil.copytree(CONSUMERS / name, project)
    shutil.copy(CONSUMERS / "program.cpp", project)
    return project


def cmake_build(project: Path, *options: object) -> Path:
    build = project / "build"
    run("cmake", "-S", project, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options)
    run("cmake", "--build", build, "--parallel", os.cpu_count() or 1)
    return build


@pytest.fixture(scope="module")
def found_package(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cmake_build(consumer("find_package", tmp_path_factory.mktemp("consumer")), f"-DCMAKE_PREFIX_PATH={prefix}")


def test_a_project_that_finds_the_package_runs(found_package: Path) -> None:
    assert EXPECTED in run(found_package / "program")


def test_a_project_may_choose_the_static_library(found_package: Path) -> None:
    assert EXPECTED in run(found_package / "program_static")
    assert "libshoal" not in run("ldd", found_package / "program_static")


def test_a_project_may_choose_the_shared_library(found_package: Path, prefix: Path) -> None:
    assert EXPECTED in run(found_package / "program_shared")
    assert f"=> {prefix}" in run("ldd", found_package / "program_shared")


def test_build_shared_libs_decides_what_shoal_shoal_is(prefix: Path, tmp_path: Path) -> None:
    project = consumer("find_package", tmp_path)
    build = cmake_build(project, f"-DCMAKE_PREFIX_PATH={prefix}", "-DBUILD_SHARED_LIBS=ON")
    assert "libshoal.so.0.1 " in run("ldd", build / "program")


def test_an_installed_prefix_may_be_moved(prefix: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(prefix, tmp_path / "moved", symlinks=True)
    build = cmake_build(consumer("find_package", tmp_path), f"-DCMAKE_PREFIX_PATH={moved}")
    assert EXPECTED in run(build / "program_shared")
    assert f"=> {moved}" in run("ldd", build / "program_shared")


def test_asking_for_an_incompatible_version_says_what_was_found(prefix: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\n"
        "project(consumer LANGUAGES CXX)\n"
        "find_package(shoal 9.9 CONFIG QUIET)\n"
        'message(STATUS "found: ${shoal_FOUND}, considered: ${shoal_CONSIDERED_VERSIONS}")\n'
    )
    output = run("cmake", "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert "found: 0, considered: 0.1." in output


def test_a_project_that_asks_pkg_config_runs(prefix: Path, tmp_path: Path) -> None:
    project = consumer("pkg_config", tmp_path)
    (metadata,) = prefix.rglob("shoal.pc")
    run("make", "program", cwd=project, env={**os.environ, "PKG_CONFIG_PATH": str(metadata.parent)})
    assert EXPECTED in run(project / "program")


def test_a_project_that_contains_shoal_runs(tmp_path: Path) -> None:
    build = cmake_build(consumer("add_subdirectory", tmp_path), f"-DSHOAL_SOURCE_DIR={ROOT}")
    assert EXPECTED in run(build / "program")
    assert not (build / "shoal/tests").exists(), "a project that contains Shoal should not be given its tests"

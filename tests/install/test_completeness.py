"""What the tree has for its users arrives where it is installed: every header, module, stub and licence."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from support import ROOT, Environment, run


def files(folder: Path, *patterns: str) -> set[str]:
    """Names, relative to the folder, of the files in it that match one of the patterns."""
    return {str(path.relative_to(folder)) for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}


HEADERS = files(ROOT / "include", "*")
PYTHON = files(ROOT / "python", "*.py", "*.pyi", "py.typed")


def assert_in(found: set[str], wanted: set[str], where: str) -> None:
    absent = sorted(wanted - found)
    assert not absent, f"{where} lacks {', '.join(absent)}"


def test_the_tree_has_what_these_tests_look_for() -> None:
    assert {"shoal/byte_queue.hpp", "shoal/version.hpp"} <= HEADERS
    assert {"shoal/__init__.py", "shoal/__main__.py", "shoal/_core.pyi", "shoal/py.typed"} <= PYTHON


def test_every_header_is_installed(prefix: Path) -> None:
    assert_in(files(prefix / "include", "*"), HEADERS, "the installed prefix")


def test_nothing_but_headers_is_installed_as_header(prefix: Path) -> None:
    assert_in(HEADERS, files(prefix / "include", "*"), "the tree's include/")


@pytest.mark.parametrize(
    "name",
    [
        "libshoal.a",
        "libshoal.so",
        "libshoal.so.0.1",
        "shoalConfig.cmake",
        "shoalConfigVersion.cmake",
        "shoal.pc",
        "LICENSE",
    ],
)
def test_the_prefix_has(prefix: Path, name: str) -> None:
    assert name in {path.name for path in prefix.rglob("*")}


# Macros in every source that has included Qt.
QT_KEYWORDS = ("-Dforever=for(;;)", "-Dforeach(item,all)=for(item:all)", "-Dslots=", "-Dsignals=public", "-Demit=")


def test_every_installed_public_header_compiles_on_its_own(prefix: Path, tmp_path: Path) -> None:
    for header in sorted(HEADERS):
        if "/detail/" in header:
            continue  # included by those headers whose details they are
        source = tmp_path / "source.cpp"
        source.write_text(f"#include <{header}>\n#include <{header}>\n")
        options = ("-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{prefix}/include", *QT_KEYWORDS)
        run("c++", *options, source)


def test_every_wheel_has_all_modules_stubs_and_the_licence(wheels: list[Path]) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            found = set(archive.namelist())
        assert_in(found, PYTHON, wheel.name)
        (metadata,) = (name for name in found if name.endswith(".dist-info/METADATA"))
        assert_in(found, {metadata.replace("METADATA", "licenses/LICENSE")}, wheel.name)
        assert any(name.startswith("shoal/_core.") and name.endswith(".so") for name in found), wheel.name


def test_wheels_have_nothing_but_the_package(wheels: list[Path]) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} == {"shoal"}, wheel.name


def test_the_source_distribution_has_all_sources_and_the_licence(sdist: Path) -> None:
    wanted = {"LICENSE", "README.md", "CMakeLists.txt", "pyproject.toml"}
    for folder in ("include", "src", "bindings", "cmake", "python"):
        wanted |= {
            f"{folder}/{name}"
            for name in files(ROOT / folder, "*.[ch]pp", "*.cmake", "*.in", "*.py", "*.pyi", "py.typed")
        }
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert_in(found, wanted, sdist.name)


def test_the_source_distribution_installs_everything(environment: Environment) -> None:
    found = files(environment.site_packages, "*")
    assert_in(found, PYTHON, "what pip installed")
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in found)


def test_the_installed_package_and_the_headers_agree_on_the_version(prefix: Path, environment: Environment) -> None:
    printed = run(
        environment.python,
        "-Ic",
        "import importlib.metadata, shoal; print(shoal.__version__, importlib.metadata.version('shoal'))",
    ).split()
    (metadata,) = prefix.rglob("shoal.pc")
    (line,) = (line for line in metadata.read_text().splitlines() if line.startswith("Version:"))
    assert {*printed} == {line.partition(":")[2].strip()}

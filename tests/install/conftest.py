"""What the install tests are given: an installed prefix, the built packages, an environment with one of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support import ROOT, Environment, run


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("shoal")
    group.addoption("--build-dir", type=Path, default=ROOT / "build/dev", help="a finished CMake build")
    group.addoption("--dist-dir", type=Path, default=ROOT / "build/dist", help="source distribution and wheels")
    group.addoption(
        "--wheels", type=Path, default=ROOT / ".venv/wheels", help="wheels of the tools that building needs"
    )


@pytest.fixture(scope="session")
def prefix(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty prefix after `cmake --install`."""
    path = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", pytestconfig.getoption("--build-dir"), "--prefix", path)
    return path


@pytest.fixture(scope="session")
def sdist(pytestconfig: pytest.Config) -> Path:
    (path,) = pytestconfig.getoption("--dist-dir").glob("shoal-*.tar.gz")
    assert isinstance(path, Path)
    return path


@pytest.fixture(scope="session")
def wheels(pytestconfig: pytest.Config) -> list[Path]:
    found = sorted(pytestconfig.getoption("--dist-dir").glob("shoal-*.whl"))
    assert found, "no wheel was built"
    return found


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config, sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What `pip install shoal-X.Y.Z.tar.gz` makes of a clean environment."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    # Nothing but the source distribution and the tools that the set-up fetched: no index, none of our own packages.
    sources = ("--no-index", "--find-links", pytestconfig.getoption("--wheels"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--disable-pip-version-check", *sources, sdist)
    site_packages = run(python, "-Ic", "import sysconfig; print(sysconfig.get_path('platlib'))")
    return Environment(python, Path(site_packages.strip()))

"""Where the examples are, for the tests that run them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def cpp_example(name: str) -> Path:
    """The C++ example of that name, from the folder in SHOAL_EXAMPLES, or from where `make build` puts it."""
    folder = Path(os.environ.get("SHOAL_EXAMPLES") or ROOT / "build/dev/examples")
    path = folder / name
    if not path.exists():
        pytest.fail(
            f"{path} is not there: build the C++ examples first (make build), or have SHOAL_EXAMPLES name the folder",
            pytrace=False,
        )
    return path

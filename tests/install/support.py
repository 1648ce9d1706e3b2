"""What the install tests share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, **options: Any) -> str:
    """Run a command that must succeed, and return what it printed; fail the test with all of it otherwise."""
    words = [str(word) for word in command]
    done = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, **options)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout


@dataclass
class Environment:
    """A virtual environment with nothing in it but what a test installed."""

    python: Path
    site_packages: Path

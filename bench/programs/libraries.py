"""What the programs beside this share: the libraries by name, and the manner to end where one is not installed."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

NOT_AVAILABLE = 77  # as in measuring.py


def needs(what: str) -> NoReturn:
    print(f"needs {what}", file=sys.stderr)
    sys.exit(NOT_AVAILABLE)


def not_available(name: str) -> NoReturn:
    print(f"{name} is not installed for {sys.executable}", file=sys.stderr)
    sys.exit(NOT_AVAILABLE)


def module(name: str) -> Any:
    try:
        return importlib.import_module(name.replace("-", "_"))
    except ModuleNotFoundError as error:
        if error.name != name.replace("-", "_"):
            raise
        not_available(name)


def fork_context(name: str) -> Any:
    """The library's multiprocessing-like context in which processes are forked."""
    return module(name).get_context("fork")

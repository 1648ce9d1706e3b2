"""All cases: what is measured, beside whom, and what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cpp_cases import cpp_cases
from measuring import Case
from python_cases import python_cases
from waiting_cases import waiting_cases
from wakeup_cases import wakeup_cases


def all_cases(cpp_folder: Path) -> Iterator[Case]:
    """`cpp_folder` is where the programs of bench/*.cpp are."""
    yield from python_cases()
    yield from cpp_cases(cpp_folder)
    yield from waiting_cases(cpp_folder)
    yield from wakeup_cases(cpp_folder)

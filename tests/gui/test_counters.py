"""The counters in Python: a window shows what a worker counts, and closing it ends both."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from counters import ENDINGS, assert_it_counts_and_ends
from programs import COUNTERS, Program


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("toolkit", ["gtk4", "qt6", "tk", "old_idiom_gtk4"])
def test_the_counter_counts_in_its_window_and_ends(start: Callable[..., Program], toolkit: str, ending: str) -> None:
    assert_it_counts_and_ends(start(sys.executable, COUNTERS / f"{toolkit}.py"), ending)

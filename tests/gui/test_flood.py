"""A window into which items come faster than anybody can read."""

from __future__ import annotations

import re
import sys

import pytest
from conftest import Start
from counters import ENDINGS, assert_it_counts_and_ends
from programs import COUNTERS

FLOODS = ["flood_gtk4", "flood_qt6"]


@pytest.mark.parametrize("flood", FLOODS)
def test_a_hundred_thousand_items_arrive_in_order_and_the_window_closes(start: Start, flood: str) -> None:
    program = start(sys.executable, COUNTERS / f"{flood}.py", 100_000)
    assert program.wait() == 0, program.err
    assert re.match(r"100000 items in [0-9.]+ s, all in order", program.out), program.out + program.err
    assert "Traceback" not in program.err


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_window_that_cannot_follow_is_closed_as_any_other(start: Start, flood: str, ending: str) -> None:
    program = start(sys.executable, COUNTERS / f"{flood}.py", 10**12, 10**12)
    assert_it_counts_and_ends(program, ending)
    assert ", all in order" in program.out

"""The items that are sent, by their kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from libraries import module

MEGABYTE = 1024 * 1024

# How large the large ones are. There are fewer of them: as many as of the small ones would not fit into caches that a
# producer's real data may well be in.
LARGE = {"bytes1MB": MEGABYTE, "numpy8MB": 8 * MEGABYTE}


@dataclass
class Point:
    """What a program has of its own, so that others can only pickle it."""

    x: int
    y: int


KINDS: dict[str, Callable[[int], Any]] = {
    "int": lambda i: i * 1000,
    "str": lambda i: f"item {i}",
    "tuple": lambda i: (i, f"item {i}", i / 2),
    "dict": lambda i: {"number": i, "name": f"item {i}", "half": i / 2},
    "pickle": lambda i: Point(i, -i),
    "pickle_set": lambda i: {i, i + 1, i + 2},
    "bytes1KB": lambda i: (b"%4d" % i) * 256,
    "bytes1MB": lambda i: (b"%4d" % i) * (MEGABYTE // 4),
    "numpy8MB": lambda i: module("numpy").full(MEGABYTE, float(i)),
}


def make_items(kind: str) -> list[Any]:
    """Make the items that are sent again and again: 1000 different ones, or 4 large ones."""
    return [KINDS[kind](i) for i in range(4 if kind in LARGE else 1000)]


def same(kind: str, one: Any, other: Any) -> bool:
    return bool((one == other).all()) if kind == "numpy8MB" else bool(one == other)

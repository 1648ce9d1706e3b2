"""Errors that say which argument is of a wrong type, and what it was expected to be."""

from __future__ import annotations

import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def whole_number(name: str, value: Any) -> int:
    """`value` as an int, if it is one or stands for one as NumPy's do. Raises TypeError."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected a whole number") from None


def seconds(name: str, value: Any) -> float:
    """`value`, if it is a number of seconds above 0. Raises TypeError and ValueError."""
    try:
        if value > 0:
            return value  # type: ignore[no-any-return]
    except TypeError:
        raise TypeError(f"{name} is {value!r}, expected a number of seconds, or None") from None
    raise ValueError(f"{name} is {value!r}, expected a number of seconds above 0, or None")

"""What the tests of what crosses a queue have in common."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any

from shoal import _core

MSGPACK = 1
PICKLE = 2
PICKLE_BUFFERS = 3


def encoding_of(obj: Any) -> int:
    return _core.encode(obj)[0]


def there_and_back(obj: Any) -> Any:
    return _core.decode(*_core.encode(obj))


def with_pickle(obj: Any) -> Any:
    return pickle.loads(pickle.dumps(obj, 5))


def outcome(call: Callable[[], Any]) -> tuple[str, Any]:
    """What a call returns, or the type and text of what it raises."""
    try:
        return "returned", call()
    except Exception as raised:
        return type(raised).__name__, str(raised)


def same(a: Any, b: Any, seen: dict[int, int] | None = None) -> bool:
    """Equal in type and value all the way down, NaN and signed zero included; one object where the other is one."""
    seen = {} if seen is None else seen
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    has_attributes = hasattr(a, "__dict__") and not isinstance(a, type)
    if (isinstance(a, (list, tuple, dict, set)) and a != ()) or has_attributes:
        if id(a) in seen or id(b) in seen.values():
            return seen.get(id(a)) == id(b)
        seen[id(a)] = id(b)
    if has_attributes and not same(a.__dict__, b.__dict__, seen):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, seen) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            same(k, j, seen) and same(v, w, seen) for (k, v), (j, w) in zip(a.items(), b.items(), strict=True)
        )
    return has_attributes or bool(a == b)

"""The table of `python -m shoal --status`."""

from __future__ import annotations

import platform

import shoal
from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def provider(name: str) -> str:
    """Whose `shoal.<name>` is: "shoal" or "standard library"."""
    value: Any = getattr(shoal, name)
    module = str(getattr(getattr(value, "__func__", value), "__module__", ""))
    return "shoal" if module.partition(".")[0] == "shoal" else "standard library"


def print_status() -> None:
    names = sorted(_stdlib.public_names, key=str.lower)
    ours = [name for name in names if provider(name) == "shoal"]
    print(f"shoal {shoal.__version__} on {platform.python_implementation()} {platform.python_version()}")
    print(
        f"{len(ours)} of multiprocessing's {len(names)} public names are Shoal's; the rest are the standard library's."
    )
    print()
    width = max(map(len, names))
    for name in names:
        print(f"  {name:<{width}}  {provider(name)}")

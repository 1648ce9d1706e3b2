"""Making `import multiprocessing` mean shoal, here and in the processes that are started from here.

`multiprocessing` becomes the shoal package itself. Of its submodules, those that Shoal replaces become Shoal's; all
others stay the standard library's, which find Shoal's names when they look for them in `multiprocessing`. Forks inherit
that; processes that start with a fresh interpreter are told so in the data they are prepared with, before they import
the program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from shoal import _stdlib

__all__ = ["install", "installed"]

_REPLACED = ("connection", "context", "pool", "queues", "sharedctypes", "synchronize")

_prepare_child = _stdlib.spawn.get_preparation_data


def install() -> None:
    """Make `multiprocessing` mean shoal from now on, in this process and its children. Idempotent.

    Modules that have imported the standard library's before keep it. There is no way back.
    """
    if installed():
        return
    import shoal.connection

    sys.modules["multiprocessing"] = shoal
    for name in _REPLACED:
        sys.modules[f"multiprocessing.{name}"] = sys.modules[f"shoal.{name}"]
    # A program for multiprocessing does not expect `put` to raise for an object that cannot be pickled.
    shoal.queues.Queue._reports_put_errors = True
    _stdlib.spawn.get_preparation_data = _prepare_aliased_child


def installed() -> bool:
    """Whether `import multiprocessing` means shoal in this process."""
    return sys.modules.get("multiprocessing") is sys.modules["shoal"]


class _InstallOnArrival:
    """Pickled in one process, installs the alias in the one that unpickles it."""

    def __reduce__(self) -> Any:
        return install, ()


def _prepare_aliased_child(name: str) -> dict[str, Any]:
    data: dict[str, Any] = _prepare_child(name)
    if name == "ignore":
        # So the fork server calls it for itself. It would import the program before it knows of the alias; its children
        # can.
        for key in ("main_path", "init_main_from_path", "init_main_from_name"):
            data.pop(key, None)
        return data
    return {"shoal_alias": _InstallOnArrival(), **data}


class _Submodules(MetaPathFinder, Loader):
    """Finds the submodules that shoal lacks, under its own name and under `multiprocessing`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package not in ("shoal", "multiprocessing"):
            return None
        found = _stdlib.find_submodule(name)
        if found is None or package == "multiprocessing":
            return found
        return ModuleSpec(fullname, self, origin=found.origin)

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # `shoal.managers` is not a copy of `multiprocessing.managers` but the same module: the import system takes what
        # is here.
        sys.modules[module.__name__] = _stdlib.submodule(module.__name__.rpartition(".")[2])


def enable_submodules() -> None:
    """Let `import shoal.managers` and the like find the standard library's; called once by the package."""
    # Last: only names that nobody else knows get here.
    sys.meta_path.append(_Submodules())

"""Making `import multiprocessing` mean shoal, here and in the processes that are started from here.

`multiprocessing` becomes the shoal package itself. Of its submodules, those that Shoal replaces become Shoal's; all
others stay the standard library's, which find Shoal's names when they look for them in `multiprocessing`. Forks inherit
that; processes that start with a fresh interpreter are told so in the data they are prepared with, before they import
the program.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["install", "installed"]

_REPLACED = ("connection", "context", "forkserver", "pool", "queues", "sharedctypes", "synchronize")


def install() -> None:
    """Make `multiprocessing` mean shoal from now on, in this process and its children. Idempotent.

    Modules that have imported the standard library's before keep it. There is no way back.
    """
    if installed():
        return
    sys.meta_path.insert(0, _Multiprocessing())
    sys.modules["multiprocessing"] = sys.modules["shoal"]
    _stdlib.set_aside(_REPLACED)
    _stdlib.lazy_submodule("spawn", _let_children_know)
    if "shoal.queues" in sys.modules:
        # A program for multiprocessing does not expect `put` to raise for an object that cannot be pickled.
        sys.modules["shoal.queues"].Queue._reports_put_errors = True


def installed() -> bool:
    """Whether `import multiprocessing` means shoal in this process."""
    return sys.modules.get("multiprocessing") is sys.modules["shoal"]


class _InstallOnArrival:
    """Pickled in one process, installs the alias in the one that unpickles it."""

    def __reduce__(self) -> Any:
        return install, ()


def _let_children_know(spawn: Any) -> None:
    """Have the standard library's own way to start a process, if anybody still uses that, pass the alias on."""
    prepare_child = spawn.get_preparation_data

    def prepare_aliased_child(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepare_child(name)
        if name == "ignore":
            # So the fork server calls it for itself. It would import the program before it knows of the alias; its
            # children can.
            for key in ("main_path", "init_main_from_path", "init_main_from_name"):
                data.pop(key, None)
            return data
        return {"shoal_alias": _InstallOnArrival(), **data}

    spawn.get_preparation_data = prepare_aliased_child


class _UnderAnotherName:
    """The loader of a module that is imported under another name: the same module, no copy."""

    def __init__(self, find: Callable[[str], Any], name: str) -> None:
        self._find = find
        self._name = name

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = self._find(self._name)  # the import system takes what is here


def _spec_of_another(fullname: str, find: Callable[[str], Any], name: str) -> ModuleSpec:
    loader: Any = _UnderAnotherName(find, name)
    return ModuleSpec(fullname, loader)


class _Multiprocessing:
    """Finds the submodules of `multiprocessing` while that means shoal."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != "multiprocessing":
            return None
        if name not in _REPLACED:
            found = _stdlib.find_submodule(name)
            if found is not None or PathFinder.find_spec(f"shoal.{name}", path) is None:
                return found
        return _spec_of_another(fullname, importlib.import_module, f"shoal.{name}")


class _Submodules:
    """Finds the submodules of `shoal` that are the standard library's."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != "shoal" or _stdlib.find_submodule(name) is None:
            return None
        return _spec_of_another(fullname, _stdlib.submodule, name)


def enable_submodules() -> None:
    """Let `import shoal.managers` and the like find the standard library's; called once by the package."""
    # Last: only names that nobody else knows get here.
    sys.meta_path.append(_Submodules())

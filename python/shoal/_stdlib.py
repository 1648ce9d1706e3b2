"""The standard library's multiprocessing: the only module that names it.

Once the alias is installed (see `shoal.alias`), `import multiprocessing` means shoal. Whoever needs the original takes
it from here: these references were made before any aliasing. They are typed `Any` because most of what shoal shares
with the standard library (the table of children, the finalizers, the spawning machinery) is not in its public
interface.
"""

from __future__ import annotations

import importlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.pool
import multiprocessing.process
import multiprocessing.queues
import multiprocessing.reduction
import multiprocessing.spawn
import multiprocessing.synchronize
import multiprocessing.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from typing import Any

package: Any = multiprocessing
connection: Any = multiprocessing.connection
context: Any = multiprocessing.context
pool: Any = multiprocessing.pool
process: Any = multiprocessing.process
queues: Any = multiprocessing.queues
reduction: Any = multiprocessing.reduction
spawn: Any = multiprocessing.spawn
synchronize: Any = multiprocessing.synchronize
util: Any = multiprocessing.util

public_names: list[str] = list(package.__all__)
_search_path = list(package.__path__)


def submodule(name: str) -> Any:
    """The standard library's `multiprocessing.<name>`, one that shoal does not replace; imported at its first use."""
    return importlib.import_module(f"multiprocessing.{name}")


def replaced_submodule(name: str) -> Any:
    """The standard library's `multiprocessing.<name>` where that name may mean shoal's; imported at its first use."""
    if name not in _replaced_submodules:
        spec = find_submodule(name)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        _replaced_submodules[name] = module
    return _replaced_submodules[name]


_replaced_submodules: dict[str, Any] = {}


def loaded_submodule(name: str) -> Any:
    """The standard library's `multiprocessing.<name>`, which shoal does not replace, if it was imported; or None."""
    return sys.modules.get(f"multiprocessing.{name}")


def use_resource_tracker(descriptor: int) -> None:
    """Let the resource tracker be the one behind `descriptor`, should this process need one."""
    submodule("resource_tracker")._resource_tracker._fd = descriptor


def find_submodule(name: str) -> ModuleSpec | None:
    """Where the standard library keeps `multiprocessing.<name>`, or None if it has no such module."""
    return PathFinder.find_spec(f"multiprocessing.{name}", _search_path)


def missing_attribute(module: str, original: Any, name: str) -> Any:
    """What a shoal module answers for a name of its own that it lacks: that of the standard library's module.

    Raises AttributeError, naming shoal's module, if there is none either.
    """
    try:
        return getattr(original, name)
    except AttributeError:
        raise AttributeError(f"module {module!r} has no attribute {name!r}") from None

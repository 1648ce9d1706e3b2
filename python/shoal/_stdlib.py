"""The standard library's multiprocessing: the only module that names it.

Once the alias is installed (see `shoal.alias`), `import multiprocessing` means shoal. Whoever needs the original takes
it from here: `_stdlib.util` is the standard library's `multiprocessing.util`, whatever that name means by then. Each
submodule is imported when it is first asked for; only `process` and `context`, with the state that both worlds share,
are there from the beginning. All is typed `Any`, because most of what shoal shares with the standard library (the table
of children, the finalizers, the spawning machinery) is not in its public interface.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import PathFinder
from threading import Lock, RLock
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from importlib.machinery import ModuleSpec
    from typing import Any

# What imports and searches of sys.modules read; a module need not have been executed for it.
_KNOWN_BEFORE = frozenset(
    ["__class__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__", "__warningregistry__"]
)

_after_load: dict[str, list[Callable[[Any], None]]] = {}
_originals: dict[str, Any] = {}
_replaced: set[str] = set()
_lock = Lock()  # guards these, and is held for moments only


class _Execution:
    """How far a lazy module is."""

    def __init__(self) -> None:
        self.lock = RLock()  # reentrant: what it imports may look at it
        self.begun = False


_executions: dict[ModuleType, _Execution] = {}


class _LazyModule(ModuleType):
    """A module that is executed when something of it is first looked at; from then on it is like any other.

    Threads: who looks at it while another thread executes it waits until that is done.
    """

    def __getattribute__(self, name: str) -> Any:
        if name not in _KNOWN_BEFORE:
            _execute(self)
        return ModuleType.__getattribute__(self, name)  # not by super(): the class is another one by now

    def __setattr__(self, name: str, value: Any) -> None:
        _execute(self)  # or else executing it later would undo this
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        _execute(self)
        ModuleType.__delattr__(self, name)


def _execute(module: ModuleType) -> None:
    execution = _executions.get(module)
    if execution is None:
        return  # another thread was faster
    with execution.lock:
        if execution.begun:
            return
        execution.begun = True
        try:
            assert module.__spec__ is not None
            assert module.__spec__.loader is not None
            module.__spec__.loader.exec_module(module)
        except BaseException:
            execution.begun = False
            raise
        with _lock:
            callbacks = _after_load.pop(module.__name__, ())
            ModuleType.__setattr__(module, "__class__", ModuleType)
        for call in callbacks:
            call(module)
        _executions.pop(module, None)


def _new_lazy_module(spec: ModuleSpec | None) -> Any:
    assert spec is not None
    module = ModuleType(spec.name)
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    module.__dict__["__cached__"] = spec.cached
    _executions[module] = _Execution()
    module.__class__ = _LazyModule
    return module


def _import_package() -> Any:
    """`multiprocessing`, whose `context` imports `reduction`, and that pickle, sockets and more that few need."""
    found = None if "multiprocessing" in sys.modules else PathFinder.find_spec("multiprocessing")
    if found is None or "multiprocessing.reduction" in sys.modules:
        return importlib.import_module("multiprocessing")
    spec = PathFinder.find_spec("multiprocessing.reduction", found.submodule_search_locations)
    reduction = sys.modules["multiprocessing.reduction"] = _new_lazy_module(spec)
    package: Any = importlib.import_module("multiprocessing")
    package.reduction = reduction
    return package


package: Any = _import_package()
context: Any = package.context
process: Any = context.process

public_names: list[str] = list(package.__all__)
_search_path = list(package.__path__)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or find_submodule(name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = module = submodule(name)
    return module


def submodule(name: str) -> Any:
    """The standard library's `multiprocessing.<name>`. Raises ModuleNotFoundError if it has none of that name."""
    if name not in _replaced:
        return importlib.import_module(f"multiprocessing.{name}")
    with _lock:
        if name not in _originals:
            _originals[name] = _new_lazy_module(find_submodule(name))
        return _originals[name]


def lazy_submodule(name: str, after_load: Callable[[Any], None] | None = None) -> Any:
    """As `submodule`, but executed no sooner than something of it is looked at.

    `after_load` is called with the module when it has been executed: at once if it was imported before.
    """
    fullname = f"multiprocessing.{name}"
    with _lock:
        module = sys.modules.get(fullname)
        if module is None:
            module = sys.modules[fullname] = _new_lazy_module(find_submodule(name))
            setattr(package, name, module)
        if after_load is None:
            return module
        if type(module) is _LazyModule:
            _after_load.setdefault(fullname, []).append(after_load)
            return module
    after_load(module)
    return module


def set_aside(names: Iterable[str]) -> None:
    """From now on `multiprocessing.<name>` is not the standard library's, which stays to be had from here."""
    with _lock:
        for name in names:
            original = sys.modules.pop(f"multiprocessing.{name}", None)
            if original is not None:
                _originals[name] = original
            _replaced.add(name)


def loaded_submodule(name: str) -> Any:
    """The standard library's `multiprocessing.<name>`, which shoal does not replace, if it was executed; or None."""
    module = sys.modules.get(f"multiprocessing.{name}")
    return None if type(module) is _LazyModule else module


def use_resource_tracker(descriptor: int) -> None:
    """Let the resource tracker be the one behind `descriptor`, should this process need one."""

    def use(module: Any) -> None:
        module._resource_tracker._fd = descriptor

    lazy_submodule("resource_tracker", use)


def find_submodule(name: str) -> ModuleSpec | None:
    """Where the standard library keeps `multiprocessing.<name>`, or None if it has no such module."""
    return PathFinder.find_spec(f"multiprocessing.{name}", _search_path)


def attribute_for(module: str, name: str) -> Any:
    """What `module` of shoal, say "shoal.queues", answers for a name it lacks: what the standard library has there.

    Raises AttributeError, naming shoal's module, if there is none either.
    """
    if name.startswith("__"):  # the import system asks for these; it is no reason to import anything
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    _, _, submodule_name = module.partition(".")
    try:
        return getattr(submodule(submodule_name) if submodule_name else package, name)
    except AttributeError:
        raise AttributeError(f"module {module!r} has no attribute {name!r}") from None

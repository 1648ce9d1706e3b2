"""How functions travel to the workers of a pool.

Plain pickle sends the name of a function, and refuses what has none that leads to it: lambdas, closures, functions
inside functions. Those cloudpickle sends as code, if it is installed.
"""

from __future__ import annotations

import sys
from _pickle import PicklingError, dumps, loads
from types import BuiltinFunctionType, FunctionType, ModuleType

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What plain pickle raises for something that has no name, or is not to be had under it. What reducers raise is often of
# the same kind; then cloudpickle raises it again.
NOT_BY_NAME = (PicklingError, AttributeError, TypeError)


def dumps_function(func: Any, *, main_is_there: bool = True) -> tuple[bytes, bool]:
    """Pickle a function, or whatever is called like one. Returns the pickle, and whether that is nothing but its name.

    If so, the function is the same each time it is unpickled in one process, and may be kept there. Others may have a
    state that a call changes.

    `main_is_there`: whether the workers have what is in `__main__`; see `main_can_be_imported`. If not, its functions
    are sent as code.

    Raises what pickling raises. If only cloudpickle could do it and it is not installed, the message says so.
    """
    if main_is_there and _has_only_its_name(func):
        try:
            return dumps(func, 5), True
        except NOT_BY_NAME as refusal:
            return by_value(func, refusal, main_is_there=main_is_there), False
    return dumps_with_functions(func, main_is_there=main_is_there), False


def dumps_with_functions(value: Any, *, main_is_there: bool = True) -> bytes:
    """Pickle anything, with lambdas and closures in it, as `dumps_function`."""
    try:
        pickled = bytes(_stdlib.reduction.ForkingPickler.dumps(value, 5))
    except NOT_BY_NAME as refusal:
        return by_value(value, refusal, main_is_there=main_is_there)
    if not main_is_there and b"__main__" in pickled and _cloudpickler(main_is_there) is not None:
        return _dumps_as_code(value, main_is_there)
    return pickled


def by_value(value: Any, refusal: Exception, *, main_is_there: bool = True) -> bytes:
    """Pickle what plain pickle has refused, if cloudpickle can; raises `refusal`, or what says more, if not."""
    if not isinstance(refusal, NOT_BY_NAME):
        raise refusal
    if _cloudpickler(main_is_there) is not None:
        return _dumps_as_code(value, main_is_there)
    if not any(word in str(refusal) for word in ("<lambda>", "<locals>", "local object")):
        raise refusal
    kind = next(kind for kind in NOT_BY_NAME if isinstance(refusal, kind))
    hint = "Lambdas and functions inside functions can be sent if cloudpickle is installed: pip install cloudpickle"
    raise kind(f"{refusal}. {hint}") from refusal


class Portable:
    """Something that may have lambdas and closures in it, for plain pickle to send: it comes out as itself."""

    def __init__(self, value: Any, *, main_is_there: bool = True) -> None:
        self._value = value
        self._main_is_there = main_is_there

    def __reduce__(self) -> Any:
        return loads, (dumps_with_functions(self._value, main_is_there=self._main_is_there),)


def main_can_be_imported() -> bool:
    """Whether a process that is no fork finds what is in `__main__`: not if that is a session, or `python -c`."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return name != "__main__" and not name.endswith(".__main__")
    return getattr(main, "__file__", None) is not None


def _has_only_its_name(func: Any) -> bool:
    if type(func) is BuiltinFunctionType:
        return func.__self__ is None or isinstance(func.__self__, ModuleType)  # others are methods of an object
    return type(func) is FunctionType or type(func) is type


def _dumps_as_code(value: Any, main_is_there: bool) -> bytes:
    import io

    pickler = _cloudpickler(main_is_there)
    assert pickler is not None
    written = io.BytesIO()
    pickler(written, 5).dump(value)
    return written.getvalue()


_picklers: dict[bool, Any] = {}


def _cloudpickler(main_is_there: bool) -> Any:
    """A pickler class of cloudpickle's that knows what multiprocessing has registered; None if it is not installed."""
    if main_is_there not in _picklers:
        import importlib

        try:
            cloudpickle: Any = importlib.import_module("cloudpickle")
        except ImportError:
            return None  # it may be installed while the program, say a notebook, runs
        _picklers[main_is_there] = _extend(cloudpickle.CloudPickler, main_is_there)
    return _picklers[main_is_there]


def _extend(base: Any, main_is_there: bool) -> Any:
    import collections

    reducers = collections.ChainMap(_stdlib.reduction.ForkingPickler._extra_reducers, base.dispatch_table)

    class Pickler(base):  # type: ignore[misc]
        dispatch_table = reducers

        def reducer_override(self, value: Any) -> Any:
            # cloudpickle takes all of `__main__` by value. An instance of a class sent that way, once it is back, would
            # be no instance of the class that the program has.
            if main_is_there and _is_in_main(value):
                return NotImplemented
            return super().reducer_override(value)

    return Pickler


def _is_in_main(value: Any) -> bool:
    if not isinstance(value, (type, FunctionType)) or value.__module__ != "__main__":
        return False
    found: Any = sys.modules["__main__"]
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value

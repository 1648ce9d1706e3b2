"""How functions travel to the workers of a pool.

Plain pickle sends the name of a function, and refuses what has none that leads to it: lambdas, closures, functions
inside functions. Those cloudpickle sends as code, if it is installed. So are functions of `__main__` that workers do
not have there: of an interactive session, or defined only after the workers were forked.
"""

from __future__ import annotations

import sys
import weakref
from _pickle import PicklingError, loads
from types import BuiltinFunctionType, FunctionType

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What plain pickle raises for something that has no name, or is not to be had under it. What reducers raise is often of
# the same kind; then cloudpickle raises it again.
_REFUSALS = (PicklingError, AttributeError, TypeError)


class FunctionPickler:
    """Pickles for processes that are started, by `start_method`, from now on."""

    def __init__(self, start_method: str) -> None:
        self._has_main = start_method == "fork" or _main_can_be_imported()
        # What forks find in `__main__`: functions and classes, by name.
        self._in_forks: dict[str, weakref.ref[Any]] | None = None
        self._cloudpickler: Any = None
        if start_method == "fork":
            main = list(vars(sys.modules["__main__"]).items())
            self._in_forks = {name: weakref.ref(value) for name, value in main if _is_of_main(value)}

    def sendable(self, func: Any) -> Any:
        """What to send by plain pickle instead of a function: itself, unless workers would not find it."""
        if isinstance(func, (FunctionType, type)):
            missing = self._is_missing(func)
        else:
            missing = not self._has_main and type(func) is not BuiltinFunctionType
        return Portable(func, self) if missing else func

    def by_value(self, value: Any, refusal: Exception) -> bytes:
        """Pickle what plain pickle has refused to.

        Raises `refusal` if that was for another reason, or nobody can do better. If only cloudpickle could and it is
        not installed, the message says so.
        """
        if not isinstance(refusal, _REFUSALS):
            raise refusal
        if self._find_cloudpickle():
            return self._dumps_as_code(value)
        if not any(word in str(refusal) for word in ("<lambda>", "<locals>", "local object")):
            raise refusal
        kind = next(kind for kind in _REFUSALS if isinstance(refusal, kind))
        hint = "Lambdas and functions inside functions can be sent if cloudpickle is installed: pip install cloudpickle"
        raise kind(f"{refusal}. {hint}") from refusal

    def dumps(self, value: Any) -> bytes:
        """Pickle anything, with functions of all kinds in it. Raises what pickling raises; see `by_value`."""
        try:
            pickled = bytes(_stdlib.reduction.ForkingPickler.dumps(value, 5))
        except _REFUSALS as refusal:
            return self.by_value(value, refusal)
        # The name may be part of something else; then cloudpickle does no harm either.
        missing = self._is_missing(value) or (not self._has_main and b"__main__" in pickled)
        return self._dumps_as_code(value) if missing and self._find_cloudpickle() else pickled

    def _is_missing(self, value: Any) -> bool:
        if not _is_of_main(value):
            return False
        if self._in_forks is None:
            return not self._has_main
        outermost = value.__qualname__.partition(".")[0]
        there = self._in_forks.get(outermost)
        return there is None or there() is not getattr(sys.modules["__main__"], outermost, None)

    def _dumps_as_code(self, value: Any) -> bytes:
        import io

        written = io.BytesIO()
        self._cloudpickler(written, 5).dump(value)
        return written.getvalue()

    def _find_cloudpickle(self) -> bool:
        """Whether it is installed, which may happen while a notebook is running."""
        if self._cloudpickler is None:
            import importlib

            try:
                cloudpickle: Any = importlib.import_module("cloudpickle")
            except ImportError:
                return False
            self._cloudpickler = self._extend(cloudpickle.CloudPickler)
        return True

    def _extend(self, base: Any) -> Any:
        import collections

        is_missing = self._is_missing
        table = collections.ChainMap(_stdlib.reduction.ForkingPickler._extra_reducers, base.dispatch_table)

        class Pickler(base):  # type: ignore[misc]
            dispatch_table = table

            def reducer_override(self, value: Any) -> Any:
                # cloudpickle takes all of `__main__` by value. An instance of a class that was sent so, once it is
                # back, would be no instance of the class that the program has.
                if _is_in_main(value) and not is_missing(value):
                    return NotImplemented
                return super().reducer_override(value)

        return Pickler


class Portable:
    """Something that may have functions of all kinds in it, for plain pickle to send: it comes out as itself."""

    def __init__(self, value: Any, pickler: FunctionPickler) -> None:
        self._value = value
        self._pickler = pickler

    def __reduce__(self) -> Any:
        return loads, (self._pickler.dumps(self._value),)


def _main_can_be_imported() -> bool:
    """Whether a process that is no fork finds what is in `__main__`: not if that is a session, or `python -c`."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return name != "__main__" and not name.endswith(".__main__")
    return getattr(main, "__file__", None) is not None


def _is_of_main(value: Any) -> bool:
    """Whether it is a function or a class that says so."""
    return isinstance(value, (FunctionType, type)) and getattr(value, "__module__", None) == "__main__"


def _is_in_main(value: Any) -> bool:
    """Whether it is found there under its name."""
    if not _is_of_main(value):
        return False
    found: Any = sys.modules["__main__"]
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value

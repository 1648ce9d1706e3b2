"""Lets joblib know of Shoal's backend, whichever of the two is imported first, and without importing joblib."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_MODULE = "joblib.parallel"


def announce_backend() -> None:
    """From now on joblib knows a backend "shoal", which is imported when it is asked for."""
    module = sys.modules.get(_MODULE)
    if module is None:
        sys.meta_path.insert(0, _Finder())
    else:
        _announce_to(module)


def _announce_to(module: Any) -> None:
    module.register_parallel_backend("shoal", _make_backend)


def _make_backend(**options: Any) -> Any:
    from shoal import _joblib

    return _joblib.ShoalBackend(**options)


class _Finder:
    """Finds joblib's module where it is found anyway, with a loader that tells it of the backend. Once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find: Any = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(fullname, path, target)
            if spec is not None:
                loader: Any = spec.loader
                if loader is not None and hasattr(loader, "exec_module"):
                    spec.loader = _Loader(loader)  # type: ignore[assignment]
                return spec
        return None


class _Loader:
    """Another loader, and then something more."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        # Nobody is to notice: the module's loader is the other one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _announce_to(module)

"""Processes and contexts, as in `multiprocessing.context`.

A context is a start method together with everything that depends on it. What Shoal has is a class attribute here:
`ctx.Lock` is `shoal.Lock` itself. The rest are the standard library's methods.

There is one start method for each program: `set_start_method` of shoal and of the standard library set the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal import _stdlib, pool, queues, sharedctypes, synchronize

if TYPE_CHECKING:
    from multiprocessing import context as _standard
else:
    _standard = _stdlib.context

__all__ = ["BaseContext", "DefaultContext", "ForkContext", "ForkServerContext", "Process", "SpawnContext"]


def __getattr__(name: str) -> Any:
    return _stdlib.missing_attribute(__name__, _stdlib.context, name)


class Process(_standard.Process):
    """A function that runs in a process of its own, with everything that `multiprocessing.Process` has.

    `start` starts it by the program's start method (`set_start_method`). `sentinel` is a pidfd where that is possible,
    that is for `fork` and `spawn`: it polls readable once the process has ended. `exitcode` is negative if a signal
    ended it.

    Threads: `join`, `is_alive`, `exitcode`, `terminate` and `kill` may be called concurrently. fork: only the process
    that started a child may join it. Kill-safety: a child that is killed is an exit code like another.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class ForkProcess(_standard.ForkProcess):
    """A `Process` that is always a fork of the one that starts it: it shares all objects, copied on write."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen_fork import Popen

        return Popen(process_obj)


class SpawnProcess(_standard.SpawnProcess):
    """A `Process` that is always a fresh interpreter: function and arguments are pickled."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen_spawn import Popen

        return Popen(process_obj)


class ForkServerProcess(_standard.ForkServerProcess):
    """A `Process` that is always a fork of a small single-threaded server: function and arguments are pickled."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen_forkserver import Popen

        return Popen(process_obj)


class BaseContext(_standard.BaseContext):
    """What contexts have in common."""

    Array = sharedctypes.Array  # type: ignore[assignment]
    Barrier = synchronize.Barrier  # type: ignore[assignment]
    BoundedSemaphore = synchronize.BoundedSemaphore  # type: ignore[assignment]
    Condition = synchronize.Condition  # type: ignore[assignment]
    Event = synchronize.Event  # type: ignore[assignment]
    JoinableQueue = queues.JoinableQueue  # type: ignore[assignment]
    Lock = synchronize.Lock  # type: ignore[assignment]
    Queue = queues.Queue  # type: ignore[assignment]
    RLock = synchronize.RLock  # type: ignore[assignment]
    RawArray = staticmethod(sharedctypes.RawArray)
    RawValue = staticmethod(sharedctypes.RawValue)
    Semaphore = synchronize.Semaphore  # type: ignore[assignment]
    SimpleQueue = queues.SimpleQueue  # type: ignore[assignment]
    Value = sharedctypes.Value  # type: ignore[assignment]

    @property
    def Pool(self) -> type[pool.Pool]:  # type: ignore[override]  # noqa: N802
        """`shoal.Pool`, with this context as its default."""
        if "_pool" not in self.__dict__:
            self.__dict__["_pool"] = type("Pool", (pool.Pool,), {"_context": self, "__module__": pool.__name__})
        return self.__dict__["_pool"]  # type: ignore[no-any-return]

    def get_context(self, method: str | None = None) -> Any:
        """The context for start method `method`, or this one. Raises ValueError if there is no such method."""
        if method is None:
            return self
        try:
            context = _concrete_contexts[method]
        except KeyError:
            raise ValueError(f"cannot find context for {method!r}") from None
        context._check_available()
        return context


class ForkContext(BaseContext, _standard.ForkContext):
    Process = ForkProcess


class SpawnContext(BaseContext, _standard.SpawnContext):
    Process = SpawnProcess


class ForkServerContext(BaseContext, _standard.ForkServerContext):
    Process = ForkServerProcess


class DefaultContext(BaseContext, _standard.DefaultContext):
    """The context behind the functions of `shoal` itself, whose start method can be chosen once."""

    Pool = pool.Pool  # type: ignore[assignment]
    Process = Process

    def __init__(self, context: BaseContext) -> None:
        self._default_context = context

    @property
    def _actual_context(self) -> BaseContext | None:
        # The standard library's default context knows the start method, since its own code asks there when it starts a
        # child.
        chosen = _stdlib.context._default_context._actual_context
        return None if chosen is None else _concrete_contexts[chosen._name]

    @_actual_context.setter
    def _actual_context(self, chosen: BaseContext | None) -> None:
        standard = None if chosen is None else _stdlib.context._concrete_contexts[chosen.get_start_method()]
        _stdlib.context._default_context._actual_context = standard

    def get_context(self, method: str | None = None) -> Any:
        if method is not None:
            return super().get_context(method)
        if self._actual_context is None:
            self._actual_context = self._default_context
        return self._actual_context


_concrete_contexts: dict[str, Any] = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}
_default_context: DefaultContext = DefaultContext(
    _concrete_contexts[_stdlib.context._default_context._default_context._name]
)

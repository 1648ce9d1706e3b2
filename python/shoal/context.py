"""Processes and contexts, as in `multiprocessing.context`.

A context is a start method together with everything that depends on it. What Shoal has is a class attribute here:
`ctx.Lock` is `shoal.Lock` itself. The rest are the standard library's methods.

There is one start method for each program: `set_start_method` of shoal and of the standard library set the same one.
"""

from __future__ import annotations

import importlib
import sys
import threading

from shoal import _process, _stdlib, alias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing import context as _standard
    from typing import Any

    from shoal import pool, queues, sharedctypes, synchronize
else:
    _standard = _stdlib.context

__all__ = ["BaseContext", "DefaultContext", "ForkContext", "ForkServerContext", "Process", "SpawnContext"]


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


class Process(_process.BaseProcess, _standard.Process):
    """A function that runs in a process of its own, with everything that `multiprocessing.Process` has.

    `start` starts it by the program's start method; see `get_start_method`. It raises OSError if the system refuses,
    and what pickling raises; nothing is left behind then, and `start` may be called again. `exitcode` is negative if a
    signal ended the process, and 255 if nobody can know it: its fork server was killed before it.

    `sentinel` is a pidfd with every start method: it polls readable once the process has ended. `fileno` returns it,
    and `await process.wait()` waits in asyncio. `parent_process().sentinel` is the same in the other direction.

    A `name` that is given is also what ps and top show, its first 15 bytes. More can be chosen for the process:

    cwd             its working directory
    env             its environment, which replaces the inherited one. With `spawn`, the interpreter starts with it, so
                    variables like PYTHONHASHSEED count; otherwise it is there before the function is called
    cpu_affinity    the CPUs that it may run on: an iterable of numbers
    nice            its niceness, which anybody may raise, and lower only who is privileged
    max_memory      how many bytes of private memory it may have, what it has as it begins included (RLIMIT_DATA);
                    beyond that there is MemoryError. Shared memory is not counted

    `start` raises what is wrong with one of them: FileNotFoundError, ValueError, PermissionError, and so on.

    With `daemon=True` the process is killed when its parent dies, however that dies. Others live on.

    Children that are not forks have no descriptors but standard output and error and what was passed to them; no signal
    is blocked in them. Standard input is empty with all start methods. A crash (SIGSEGV and the like) prints a
    traceback, unless SHOAL_FAULTHANDLER=0 is in the environment; see `faulthandler`.

    Threads: `join`, `is_alive`, `exitcode`, `terminate` and `kill` may be called concurrently. fork: only the process
    that started a child may join it. Kill-safety: a child that is killed is an exit code like another; a parent that is
    killed in `start` leaves no child that has not begun.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class ForkProcess(_process.BaseProcess, _standard.ForkProcess):
    """A `Process` that is always a fork of the one that starts it: it shares all objects, copied on write.

    In a program with threads a fork may find a lock locked by a thread that it does not have: DeprecationWarning.
    """

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen import ForkPopen

        return ForkPopen(process_obj)


class SpawnProcess(_process.BaseProcess, _standard.SpawnProcess):
    """A `Process` that is always a fresh interpreter: function and arguments are pickled."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen import SpawnPopen

        return SpawnPopen(process_obj)

    @staticmethod
    def _after_fork() -> None:
        """Nothing was forked."""


class ForkServerProcess(_process.BaseProcess, _standard.ForkServerProcess):
    """A `Process` that is always a fork of a small single-threaded server: function and arguments are pickled."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        from shoal._popen import ForkServerPopen

        return ForkServerPopen(process_obj)


class _Lazy:
    """What `shoal.<module>` has under the same name; the module is imported when it is first asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        value = getattr(importlib.import_module(f"shoal.{self._module}"), self._name)
        # From now on it is a class attribute like others.
        setattr(self._owner, self._name, value if isinstance(value, type) else staticmethod(value))
        return value


class BaseContext(_standard.BaseContext):
    """What contexts have in common."""

    if TYPE_CHECKING:
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
    else:
        Array = _Lazy("sharedctypes")
        Barrier = _Lazy("synchronize")
        BoundedSemaphore = _Lazy("synchronize")
        Condition = _Lazy("synchronize")
        Event = _Lazy("synchronize")
        JoinableQueue = _Lazy("queues")
        Lock = _Lazy("synchronize")
        Queue = _Lazy("queues")
        RLock = _Lazy("synchronize")
        RawArray = _Lazy("sharedctypes")
        RawValue = _Lazy("sharedctypes")
        Semaphore = _Lazy("synchronize")
        SimpleQueue = _Lazy("queues")
        Value = _Lazy("sharedctypes")

    def freeze_support(self) -> None:
        """In a frozen program that was executed to be a child: be that, and never return. Otherwise do nothing."""
        if len(sys.argv) > 1 and sys.argv[1] == "--multiprocessing-fork":
            from shoal import _command

            _command.run_frozen(sys.argv)
        super().freeze_support()

    def set_forkserver_preload(self, module_names: Any) -> None:
        """Set the modules that the fork server imports when it is launched, instead of `__main__` alone."""
        from shoal import forkserver

        forkserver.set_forkserver_preload(module_names)

    @property
    def Pool(self) -> type[pool.Pool]:  # type: ignore[override]  # noqa: N802
        """`shoal.Pool`, with this context as its default."""
        if "_pool" not in self.__dict__:
            from shoal import pool

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

    if TYPE_CHECKING:
        Pool = pool.Pool  # type: ignore[assignment]
    else:
        Pool = _Lazy("pool")
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
        """The context for start method `method`, or the program's own, which is chosen by this if it was not before."""
        if method is not None:
            return super().get_context(method)
        if self._actual_context is None:
            self._actual_context = self._safe_default()
        return self._actual_context

    def get_start_method(self, allow_none: bool = False) -> Any:
        """The start method of the program; None if it is not chosen yet and `allow_none` is true.

        If `set_start_method` was not called, it is chosen when it is first needed: the default of the Python version
        (`fork` up to 3.13), but `forkserver` if there are threads by then, which a fork would not have. In a program
        that is run by `python -m shoal` it is the default of the Python version in any case.
        """
        if allow_none and self._actual_context is None:
            return None
        return self.get_context()._name

    def _safe_default(self) -> BaseContext:
        default: Any = self._default_context
        if default._name == "fork" and threading.active_count() > 1 and not alias.installed():
            default = _concrete_contexts["forkserver"]
        return default  # type: ignore[no-any-return]


_concrete_contexts: dict[str, Any] = {"fork": ForkContext(), "spawn": SpawnContext(), "forkserver": ForkServerContext()}
_default_context: DefaultContext = DefaultContext(
    _concrete_contexts[_stdlib.context._default_context._default_context._name]
)

"""Work in processes instead of threads: what `multiprocessing` offers, on a core written in C++.

`import shoal as multiprocessing` is all a program needs; `python -m shoal prog.py` runs one that was not changed at
all. What Shoal does not have yet is the standard library's, under the same name (`python -m shoal --status` tells which
is which).

Importing shoal imports next to nothing: each name brings what it needs when it is first used.
"""

from __future__ import annotations

import importlib

from shoal import _joblib_finder, _stdlib, alias

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shoal import connection as connection
    from shoal import debug as debug
    from shoal import futures as futures
    from shoal._core import Lease
    from shoal._core import __version__ as __version__
    from shoal._reusable_pool import get_reusable_pool
    from shoal.connection import wait as wait
    from shoal.context import Process as Process
    from shoal.context import _default_context
    from shoal.errors import AuthenticationError as AuthenticationError
    from shoal.errors import BufferTooShort as BufferTooShort
    from shoal.errors import CorruptRecord, LockTimeout, OwnerDied, SegmentError, ShutDown, TaskTimeoutError, WorkerDied
    from shoal.errors import ProcessError as ProcessError
    from shoal.errors import TimeoutError as TimeoutError
    from shoal.pool import Pool as Pool
    from shoal.queues import JoinableQueue as JoinableQueue
    from shoal.queues import Queue as Queue
    from shoal.queues import SimpleQueue as SimpleQueue
    from shoal.sharedctypes import Array as Array
    from shoal.sharedctypes import RawArray as RawArray
    from shoal.sharedctypes import RawValue as RawValue
    from shoal.sharedctypes import Value as Value
    from shoal.synchronize import Barrier as Barrier
    from shoal.synchronize import BoundedSemaphore as BoundedSemaphore
    from shoal.synchronize import Condition as Condition
    from shoal.synchronize import Event as Event
    from shoal.synchronize import Lock as Lock
    from shoal.synchronize import RLock as RLock
    from shoal.synchronize import Semaphore as Semaphore

    # The functions of a module, as in multiprocessing, are the methods of the context with the program's start method.
    Manager = _default_context.Manager
    Pipe = _default_context.Pipe
    active_children = _default_context.active_children
    allow_connection_pickling = _default_context.allow_connection_pickling
    cpu_count = _default_context.cpu_count
    current_process = _default_context.current_process
    freeze_support = _default_context.freeze_support
    get_all_start_methods = _default_context.get_all_start_methods
    get_context = _default_context.get_context
    get_logger = _default_context.get_logger
    get_start_method = _default_context.get_start_method
    log_to_stderr = _default_context.log_to_stderr
    parent_process = _default_context.parent_process
    reducer = _default_context.reducer
    set_executable = _default_context.set_executable
    set_forkserver_preload = _default_context.set_forkserver_preload
    set_start_method = _default_context.set_start_method

# What a newer Python may have added is here too.
__all__ = [
    *_stdlib.public_names,
    "CorruptRecord",
    "Lease",
    "LockTimeout",
    "OwnerDied",
    "SegmentError",
    "ShutDown",
    "TaskTimeoutError",
    "WorkerDied",
    "get_reusable_pool",
]

# Where the names come from; those that are not here are methods of the default context.
_NAMES_BY_MODULE = {
    "_core": ("Lease", "__version__"),
    "_reusable_pool": ("get_reusable_pool",),
    "context": ("Process",),
    "errors": (
        "AuthenticationError",
        "BufferTooShort",
        "CorruptRecord",
        "LockTimeout",
        "OwnerDied",
        "ProcessError",
        "SegmentError",
        "ShutDown",
        "TaskTimeoutError",
        "TimeoutError",
        "WorkerDied",
    ),
    "pool": ("Pool",),
    "queues": ("JoinableQueue", "Queue", "SimpleQueue"),
    "sharedctypes": ("Array", "RawArray", "RawValue", "Value"),
    "synchronize": ("Barrier", "BoundedSemaphore", "Condition", "Event", "Lock", "RLock", "Semaphore"),
}
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}
_MODULES = frozenset([*_NAMES_BY_MODULE, "connection", "debug", "forkserver", "futures"])


def __getattr__(name: str) -> Any:
    if name == "wait":  # not in __all__: `from shoal import *` must not hide another, say that of concurrent.futures
        return importlib.import_module("shoal._core").wait
    if name in _MODULES:
        return importlib.import_module(f"shoal.{name}")
    if name in _MODULE_OF:
        value = getattr(importlib.import_module(f"shoal.{_MODULE_OF[name]}"), name)
    elif name in __all__:
        value = getattr(importlib.import_module("shoal.context")._default_context, name)
    elif not name.startswith("_") and _stdlib.find_submodule(name) is not None:
        return _stdlib.submodule(name)
    else:
        return _stdlib.attribute_for(__name__, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name not in _NOT_OFFERED), *_MODULES, *__all__})


_NOT_OFFERED = ("TYPE_CHECKING", "annotations", "importlib")

alias.enable_submodules()
_joblib_finder.announce_backend()

"""What each worker of a pool is given: what it calls first and last, how long it serves, what its process may use."""

from __future__ import annotations

import os
from collections.abc import Iterable

from shoal._functions import FunctionPickler, Portable
from shoal._process import BaseProcess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class WorkerOptions:
    """Options of the workers of one pool, checked. Raises TypeError and ValueError for what cannot be meant."""

    def __init__(
        self,
        size: int,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        max_tasks: int | None = None,
        worker_exit: Callable[[], object] | None = None,
        max_memory: int | None = None,
        cpu_affinity: bool | Sequence[int | Iterable[int]] | None = None,
    ) -> None:
        if max_tasks is not None and (not isinstance(max_tasks, int) or max_tasks <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if worker_exit is not None and not callable(worker_exit):
            raise TypeError("worker_exit must be a callable")
        if max_memory is not None:
            from shoal import _settings

            _settings.checked({"max_memory": max_memory})
        self.initializer = initializer
        self.initargs = tuple(initargs)
        self.max_tasks = max_tasks
        self.worker_exit = worker_exit
        self.max_memory = max_memory
        self._cpus = _cpus_of_workers(size, cpu_affinity)

    def apply_to(self, process: Any, worker: int) -> None:
        """Have `process`, which is to be worker number `worker`, start with its settings."""
        settings: dict[str, Any] = {}
        if self.max_memory is not None:
            settings["max_memory"] = self.max_memory
        if self._cpus:
            settings["cpu_affinity"] = self._cpus[worker % len(self._cpus)]
        if not settings:
            return
        if not isinstance(process, BaseProcess):
            kind = type(process)
            raise TypeError(
                f"{' and '.join(settings)}: the pool's context makes its workers with {kind.__module__}."
                f"{kind.__qualname__}, which knows no such settings. Take a context of shoal.get_context()."
            )
        process._settings = {**(process._settings or {}), **settings}

    def __reduce__(self) -> Any:
        calls = {name: getattr(self, name) for name in ("initializer", "initargs", "worker_exit")}
        rest = {name: value for name, value in vars(self).items() if name not in calls}
        # Lambdas and closures too. It is pickled for processes that are no forks.
        return _rebuild, (rest, Portable(calls, FunctionPickler("spawn")))


def _rebuild(rest: dict[str, Any], calls: dict[str, Any]) -> WorkerOptions:
    options = WorkerOptions.__new__(WorkerOptions)
    vars(options).update(rest, **calls)
    return options


def _cpus_of_workers(size: int, affinity: bool | Sequence[int | Iterable[int]] | None) -> list[list[int]]:
    """The CPUs that worker number 0, 1, ... may run on, which go round; empty if they are not restricted."""
    if affinity is None or affinity is False:
        return []
    if affinity is True:
        return [[cpu] for cpu in sorted(os.sched_getaffinity(0))]
    if not isinstance(affinity, Iterable) or isinstance(affinity, (str, bytes)):
        raise TypeError(f"cpu_affinity is {affinity!r}, expected True or a list with CPUs for each worker")
    usable = os.sched_getaffinity(0)
    cpus = [[entry] if isinstance(entry, int) else sorted({int(cpu) for cpu in entry}) for entry in affinity]
    if len(cpus) != size:
        raise ValueError(f"cpu_affinity has {len(cpus)} sets of CPUs for {size} workers; each needs one")
    for worker, wanted in enumerate(cpus):
        missing = sorted(set(wanted) - usable)
        if missing or not wanted:
            what = f"of {wanted}, {missing} are no CPUs that this process may use" if wanted else "the set is empty"
            raise ValueError(f"cpu_affinity for worker {worker}: {what}; there are {sorted(usable)}")
    return cpus

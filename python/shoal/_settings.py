"""What can be set for one process: working directory, environment, CPUs, niceness, memory limit.

The child applies them to itself before it does anything else, and tells its parent how that went; so `start` raises
what the system said, and knows that nothing of the program has run.
"""

from __future__ import annotations

import errno
import marshal
import os

from shoal import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# A process needs some memory to find out that it has too little.
_LEAST_FREE_MEMORY = 1 << 20

# What a pipe takes in one piece on Linux (PIPE_BUF), and how many characters of a text fit there in any case.
_LONGEST_MESSAGE = 4096
_LONGEST_TEXT = 900

_RAISED = {"OSError": OSError, "ValueError": ValueError}


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the form in which they travel. Raises TypeError and ValueError for what cannot be meant."""
    plain = dict(settings)
    if "cwd" in plain:
        plain["cwd"] = os.path.join(os.getcwdb(), os.fsencode(plain["cwd"]))
    if "env" in plain:
        plain["env"] = {_name(name): _word(value) for name, value in plain["env"].items()}
    if "cpu_affinity" in plain:
        plain["cpu_affinity"] = sorted({int(cpu) for cpu in plain["cpu_affinity"]})
    for name, least, most in (("nice", -20, 19), ("max_memory", 1, (1 << 63) - 1)):
        if name in plain:
            if not isinstance(plain[name], int):
                raise TypeError(f"{name} is {plain[name]!r}, expected an integer")
            if not least <= plain[name] <= most:
                raise ValueError(f"{name} is {plain[name]}, expected a number from {least} to {most}")
    return plain


def _word(text: str | bytes) -> bytes:
    word = os.fsencode(text)
    if b"\0" in word:
        raise ValueError("embedded null byte in the environment of a process")
    return word


def _name(text: str | bytes) -> bytes:
    name = _word(text)
    if not name or b"=" in name:
        raise ValueError(f"illegal environment variable name: {text!r}")
    return name


def apply(settings: Mapping[str, Any]) -> None:
    """In the child. Raises OSError or ValueError for the first that cannot be applied."""
    if "env" in settings:
        os.environb.clear()
        os.environb.update(settings["env"])
    if "cwd" in settings:
        os.chdir(settings["cwd"])
    if "cpu_affinity" in settings:
        _set_affinity(settings["cpu_affinity"])
    if "max_memory" in settings:
        _limit_memory(settings["max_memory"])
    if "nice" in settings:
        os.setpriority(os.PRIO_PROCESS, 0, settings["nice"])


def _set_affinity(cpus: list[int]) -> None:
    try:
        os.sched_setaffinity(0, cpus)
        missing = set(cpus) - os.sched_getaffinity(0)
    except (OSError, OverflowError, ValueError):
        missing = set(cpus)
    if not cpus:
        raise ValueError("cpu_affinity is empty: a process needs a CPU to run on")
    if missing:
        raise ValueError(f"cpu_affinity={cpus}: of these, {sorted(missing)} are no CPUs that this process may use")


def _limit_memory(most: int) -> None:
    import resource

    used = _private_memory()
    if most < used + _LEAST_FREE_MEMORY:
        raise ValueError(f"max_memory={most} is too little: the process has {used} bytes before it begins")
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _private_memory() -> int:
    """What the limit counts, in bytes."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmData:"):
                return int(line.split()[1]) * 1024
    return 0


class Report:
    """How the child tells its parent whether it could apply its settings: a pipe, through which one message goes.

    Other processes may have its ends as well, forks that were made meanwhile; so nobody waits for it to be closed.
    """

    def __init__(self) -> None:
        self._read, self.childs_end = os.pipe()

    def close(self) -> None:
        for name in ("_read", "childs_end"):
            if (descriptor := getattr(self, name)) >= 0:
                setattr(self, name, -1)
                os.close(descriptor)

    def raise_failure(self, child: _core.ProcessHandle) -> None:
        """In the parent: wait for the child, and raise what it could not do.

        One that is killed before it has said anything has been started all the same.
        """
        if self._read not in _core.wait([self._read, child.fileno()]):
            return
        failure = marshal.loads(os.read(self._read, _LONGEST_MESSAGE))
        if failure is not None:
            kind, arguments = failure
            raise _RAISED[kind](*arguments)


def _tell(descriptor: int, failure: tuple[str, tuple[Any, ...]] | None) -> None:
    try:
        os.write(descriptor, marshal.dumps(failure))
    except BrokenPipeError:
        return  # the parent has died, or given up; only a daemon ends with it


def apply_and_report(settings: Mapping[str, Any], descriptor: int) -> bool:
    """In the child: whether all could be applied. If not, it has no reason to go on."""
    failure: tuple[str, tuple[Any, ...]] | None = None
    try:
        apply(settings)
    except OSError as error:
        name = error.filename
        if name is not None:
            failure = "OSError", (error.errno, error.strerror, os.fsdecode(name)[:_LONGEST_TEXT])
        else:
            failure = "OSError", (error.errno, f"{error.strerror}, setting nice={settings.get('nice')}")
    except ValueError as error:
        failure = "ValueError", (str(error)[:_LONGEST_TEXT],)
    except MemoryError:
        failure = "OSError", (errno.ENOMEM, f"max_memory={settings['max_memory']} is too little")
    _tell(descriptor, failure)
    os.close(descriptor)
    return failure is None

"""What Shoal's process objects have beyond those of the standard library."""

from __future__ import annotations

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from multiprocessing.process import BaseProcess as _StandardProcess
    from typing import Any
else:
    _StandardProcess = _stdlib.process.BaseProcess


class BaseProcess(_StandardProcess):
    """What all classes of processes have in common; see `shoal.Process`."""

    if TYPE_CHECKING:
        _check_closed: Callable[[], None]
        _Popen: Callable[[Any], Any]
        _popen: Any
        _sentinel: int
        _target: Any
        _args: Any
        _kwargs: Any
        _parent_pid: int

    # Defaults for a subclass that has an __init__ of its own.
    _chosen_name: str | None = None
    _settings: dict[str, Any] | None = None

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = {},
        *,
        daemon: bool | None = None,
        cwd: str | bytes | os.PathLike[Any] | None = None,
        env: Mapping[str, str] | None = None,
        cpu_affinity: Iterable[int] | None = None,
        nice: int | None = None,
        max_memory: int | None = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        if name:
            self._chosen_name = name
        chosen = {"cwd": cwd, "env": env, "cpu_affinity": cpu_affinity, "nice": nice, "max_memory": max_memory}
        settings = {key: value for key, value in chosen.items() if value is not None}
        # Copies: these can be read again, should `start` fail, and pickled with the object.
        if env is not None:
            settings["env"] = dict(env)
        if cpu_affinity is not None:
            settings["cpu_affinity"] = list(cpu_affinity)
        if settings:
            self._settings = settings

    def start(self) -> None:
        """Start it, once. Raises what the system and pickling raise; then nothing was started.

        The daemons of multiprocessing have no children. Of those, a pool's workers may have some that are daemons too:
        whatever ends them ends their children.
        """
        if not _stdlib.process.current_process().daemon or not self.daemon or not _is_pool_worker():
            super().start()
            return
        self._check_closed()
        assert self._popen is None, "cannot start a process twice"
        _stdlib.process._cleanup()
        self._popen = self._Popen(self)
        self._sentinel = self._popen.sentinel
        del self._target, self._args, self._kwargs  # they may hold much
        _stdlib.process._children.add(self)

    def interrupt(self) -> None:
        """Send SIGINT: in the process, KeyboardInterrupt is raised. Do nothing if it has ended."""
        self._check_closed()
        self._popen.interrupt()

    def fileno(self) -> int:
        """The sentinel, so that selectors and event loops take the object itself.

        Raises ValueError if the process was not started, or is closed.
        """
        return self.sentinel

    async def wait(self) -> int:
        """Wait in asyncio for the end of the process. Returns the exit code.

        No thread waits; the event loop watches the sentinel. Any number of tasks may wait, in several loops too. A task
        that is cancelled has waited for nothing, and the process goes on. Joins the process, like `join`.
        """
        import asyncio
        import os

        self._check_closed()
        if self._popen is None or self._parent_pid != os.getpid():
            self.join(0)  # says that it cannot
        while self._popen.reap() is None:
            await _readable(self.sentinel)
            # That of a child of the fork server comes a moment after the end, or never if the server is stopped.
            if self._popen.reap() is None:
                await asyncio.sleep(0.01)
        self.join()
        code: int | None = self.exitcode
        assert code is not None
        return code

    def _bootstrap(self, parent_sentinel: int | None = None) -> int:
        from shoal import _bootstrap

        assert parent_sentinel is not None
        _bootstrap.set_name(self)
        return _bootstrap.run(self, parent_sentinel)

    @staticmethod
    def _after_fork() -> None:
        if _stdlib.loaded_submodule("util") is not None:
            _StandardProcess._after_fork()  # type: ignore[attr-defined]


def _is_pool_worker() -> bool:
    from shoal._worker_local import current_worker

    return current_worker() is not None


async def _readable(descriptor: int) -> None:
    import asyncio
    import os

    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def tell() -> None:
        if not seen.done():
            seen.set_result(None)

    # A duplicate, because a loop knows one reader for each descriptor.
    duplicate = os.dup(descriptor)
    try:
        loop.add_reader(duplicate, tell)
        try:
            await seen
        finally:
            loop.remove_reader(duplicate)
    finally:
        os.close(duplicate)

"""Starting a process in a fresh interpreter: the standard library's way, and then a pidfd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal import _stdlib
from shoal._popen_fork import ChildByPidfd

if TYPE_CHECKING:
    from multiprocessing.popen_spawn_posix import Popen as _StandardPopen
else:
    _StandardPopen = _stdlib.submodule("popen_spawn_posix").Popen


class Popen(ChildByPidfd, _StandardPopen):
    """A child that is a fresh interpreter. `process` is the BaseProcess to run in it, and travels by pickle."""

    def _launch(self, process: Any) -> None:
        super()._launch(process)  # type: ignore[misc]  # not in the public interface
        # The standard sentinel is a pipe, which stays open as long as any descendant of the child has it.
        self._adopt(self.pid)

    def close(self) -> None:
        super().close()
        self._handle.close()

"""Starting a process from the fork server: the standard library's way, with shoal already imported in the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal import _stdlib, alias

if TYPE_CHECKING:
    from multiprocessing.popen_forkserver import Popen as _StandardPopen
else:
    _StandardPopen = _stdlib.submodule("popen_forkserver").Popen


class Popen(_StandardPopen):
    """A child of the fork server. `process` is the BaseProcess to run in it, and travels by pickle.

    The child is the server's, not this process's; so its exit code comes from the server and its sentinel is a pipe.
    """

    def _launch(self, process: Any) -> None:
        server = _stdlib.submodule("forkserver")._forkserver
        # First, so that the program's own preloaded modules already find what `import multiprocessing` shall mean.
        first = "shoal._aliased" if alias.installed() else "shoal"
        if first not in server._preload_modules:
            server._preload_modules = [first, *server._preload_modules]
        super()._launch(process)  # type: ignore[misc]  # not in the public interface

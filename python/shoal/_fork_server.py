"""The fork server: a process without threads that imports what its children will need, and forks them."""

from __future__ import annotations

import gc
import signal
import sys
from _pickle import loads

from shoal import _bootstrap, _child, _core, _preparation, _stdlib

# What all children need.
from shoal import context as context
from shoal import forkserver as forkserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(door: int) -> None:
    """Serve until nobody has the other end of the door, or the process that has launched this one dies."""
    message = _core.receive_from_launcher(door)
    if message is None:
        return
    data = loads(message)
    _core.die_with_parent(data["parent"])
    _stdlib.lazy_submodule("resource_tracker")
    _preload(data)
    _bootstrap.reopen_stdin()
    _bootstrap.flush_std_streams()  # or each child would write it again
    gc.collect()
    gc.freeze()
    # An interrupt of a new child is not to arrive in what is the server's code still.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    channel = _core.serve_forks(door)
    if channel is not None:
        _bootstrap.run_fork(_run_child, channel, mask)


def _preload(data: dict[str, Any]) -> None:
    _preparation.prepare(data)
    current = _stdlib.process.current_process()
    current._inheriting = True
    try:
        for name in data["preload"]:
            if name == "__main__":
                _preload_main(data)
            else:
                _preload_module(name)
    finally:
        del current._inheriting


def _preload_main(data: dict[str, Any]) -> None:
    try:
        _preparation.import_main(data)
    except (Exception, SystemExit):
        return  # each child tries it again, and says what is wrong


def _preload_module(name: str) -> None:
    try:
        __import__(name)
    except ImportError:
        pass
    except Exception:
        sys.excepthook(*sys.exc_info())


def _run_child(channel: int, mask: set[signal.Signals]) -> int:
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return _child.run(channel, served=True)

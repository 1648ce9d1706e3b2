"""Where a process begins that was started by spawn or by the fork server."""

from __future__ import annotations

import gc
import io
import os
import sys
from _pickle import load

from shoal import _bootstrap, _core, _preparation, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# What this process was given as it was started; see `_popen.DupFd`.
descriptors: list[int] = []


def main(channel: int) -> NoReturn:
    """Be a process that was executed by spawn."""
    _bootstrap.reopen_stdin()
    gc.freeze()  # what is here so far stays to the end: no collection, the last ones above all, need look at it
    sys.exit(run(channel, served=False))


def run(channel: int, *, served: bool) -> int:
    """Wait for the package, and do what is in it. Returns the exit code.

    A starter that has died, or given up, meanwhile is no error: nobody waits for this process.
    """
    received = _core.receive_package(channel)
    if received is None:
        os._exit(1)
    package, descriptors[:] = received
    stream = io.BytesIO(package)
    current = _stdlib.process.current_process()
    current._inheriting = True
    try:
        preparation = load(stream)
        if not _enter(preparation, channel, served=served):
            return 1
        _preparation.prepare(preparation)
        _preparation.import_main(preparation)
        process = load(stream)
    finally:
        del current._inheriting
    code: int = process._bootstrap(parent_sentinel=descriptors[preparation["parent_sentinel"]])
    return code


def _close_in_fork(channel: int) -> None:
    """Have forks of this process close its channel, each fork of a fork having none any more."""
    still_open = [channel]
    os.register_at_fork(after_in_child=lambda: os.close(still_open.pop()) if still_open else None)


def _enter(preparation: dict[str, Any], channel: int, *, served: bool) -> bool:
    """What comes before all that belongs to the program. Returns whether there is anything to be done."""
    if preparation["daemon"] and served:
        _core.die_with_starter(channel)
        _close_in_fork(channel)
    else:
        os.close(channel)
        if preparation["daemon"]:
            _core.die_with_parent(preparation["parent"])
    if "settings" in preparation:
        from shoal import _settings

        os.chdir(preparation.pop("dir"))
        if not _settings.apply_and_report(preparation["settings"], descriptors[preparation["report"]]):
            return False
    _bootstrap.trace_crashes(_bootstrap.where_to_trace())
    _stdlib.use_resource_tracker(descriptors[preparation["resource_tracker"]])
    if "fork_server" in preparation:
        from shoal.forkserver import _forkserver

        _forkserver.share(descriptors[preparation["fork_server"]])
    return True

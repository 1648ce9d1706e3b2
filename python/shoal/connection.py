"""Connections, and waiting for several things at once: `multiprocessing.connection` with a `wait` of Shoal's own.

`wait` takes any mix of processes, queues, events, connections, sockets and descriptors. All else is the standard
library's own: the same classes, the same functions.
"""

from __future__ import annotations

from shoal import _core, _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.connection import Client as Client
    from multiprocessing.connection import Connection as Connection
    from multiprocessing.connection import Listener as Listener
    from multiprocessing.connection import Pipe as Pipe
    from typing import Any

__all__ = ["Client", "Listener", "Pipe", "wait"]

wait = _core.wait


def __getattr__(name: str) -> Any:
    return _stdlib.attribute_for(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_stdlib.connection)})

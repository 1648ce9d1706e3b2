"""The `_reader` and `_writer` of a queue, which many programs for multiprocessing wait for, close or wrap.

There they are the two connections of a pipe. Here they act as such a connection would, on the queue itself: they have
no descriptor of their own, and closing one only marks it closed.
"""

from __future__ import annotations

import time

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _End:
    def __init__(self, queue: Any, flag: str) -> None:
        self._queue = queue
        self._flag = flag

    @property
    def closed(self) -> bool:
        return self._queue.closed or self._flag in self._queue.__dict__

    def close(self) -> None:
        self._queue.__dict__[self._flag] = True


class _ReadingEnd(_End):
    readable = True
    writable = False

    def fileno(self) -> int:
        return int(self._queue.fileno())

    def poll(self, timeout: float | None = 0.0) -> bool:
        import select

        deadline = None if timeout is None else time.monotonic() + timeout
        ready = select.poll()
        ready.register(self._queue.fileno(), select.POLLIN)
        while self._queue.empty() and not self._queue.is_shutdown:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if ready.poll(None if left is None else left * 1000):
                # Another process may have taken the item; and readable for nothing, it stays so until somebody gets.
                time.sleep(0.001)
        return True

    def recv(self) -> Any:
        return self._queue.get()

    def recv_bytes(self) -> bytes:
        return bytes(_stdlib.reduction.ForkingPickler.dumps(self.recv()))


class _WritingEnd(_End):
    readable = False
    writable = True

    def fileno(self) -> int:
        """Polls readable, not writable, while the queue is not full. Raises OSError if the queue has no bound."""
        return int(self._queue.room_fileno())

    def send(self, obj: Any) -> None:
        self._queue.put(obj)

    def send_bytes(self, data: bytes) -> None:
        from pickle import loads

        self._queue.put(loads(data))


class Reader:
    """The attribute `_reader`. A subclass of a queue may assign another value to it."""

    def __get__(self, queue: Any, owner: type | None = None) -> Any:
        return self if queue is None else _ReadingEnd(queue, "_reader_closed")


class Writer:
    """The attribute `_writer`, likewise."""

    def __get__(self, queue: Any, owner: type | None = None) -> Any:
        return self if queue is None else _WritingEnd(queue, "_writer_closed")

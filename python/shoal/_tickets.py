"""Tickets for descriptors: how a handle gets from one running process into another; see `_sharing`."""

from __future__ import annotations

import array
import contextlib
import errno
import itertools
import os
import signal
import socket
import struct
import threading
import time
import weakref
from functools import partial

from shoal import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any, NoReturn, TypeVar

    T = TypeVar("T")

# How long a receiver waits for a sender that is stopped or too busy, and a sender for a receiver that is.
_RECEIVER_PATIENCE = 30.0
_SENDER_PATIENCE = 1.0

_SECRET_SIZE = 16
_TICKET_SIZE = _SECRET_SIZE + 8
_MOST_DESCRIPTORS = 8

_HERE_THEY_ARE = b"+"
_UNKNOWN_TICKET = b"-"


def ticket_for(owner: Any, descriptors: Sequence[int], part: Hashable) -> Any:
    """A ticket to pickle; see `_sharing.duplicated_all`."""
    return _sender.ticket(owner, descriptors, part)


class _Ticket:
    """Entitles to duplicates of descriptors in the process that sent it."""

    each_time_new = True

    def __init__(self, address: bytes, number: bytes, places: tuple[bool, ...], kind: str, user: int) -> None:
        self._address = address
        self._number = number
        self._places = places  # whether there is a descriptor, or -1
        self._kind = kind
        self._pid = os.getpid()
        self._user = user

    def detach(self) -> tuple[int, ...]:
        """The descriptors. Waits for at most 30 seconds, if the sender is stopped.

        Raises ConnectionError if the sender has ended or has nothing for this ticket any more, PermissionError if it
        belongs to another user, TimeoutError if it did not answer, OSError if this process may have no more
        descriptors.
        """
        try:
            answer, received = self._present()
        except TimeoutError:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"process {self._pid}, which sent this {self._kind}, did not hand it out within "
                f"{_RECEIVER_PATIENCE:.0f} s; is it stopped?",
            ) from None
        except ConnectionError:
            answer, received = b"", []
        if answer == b"":
            self._complain_about_silence()
        if answer == _UNKNOWN_TICKET:
            raise ConnectionError(
                f"process {self._pid} has handed out this {self._kind} before and does not have it any more: a handle "
                "can be unpickled again only as long as the process that sent it keeps it"
            )
        if len(received) != sum(self._places):
            _close_all(received)
            raise OSError(errno.EMFILE, f"this process may have no more descriptors, which a {self._kind} needs")
        descriptors = iter(received)
        return tuple(next(descriptors) if there else -1 for there in self._places)

    def _present(self) -> tuple[bytes, list[int]]:
        until = time.monotonic() + _RECEIVER_PATIENCE
        with _with_room(_new_socket) as connection:
            connection.settimeout(_RECEIVER_PATIENCE)
            while True:
                try:
                    connection.connect(self._address)
                    break
                except BlockingIOError:  # too many wait already
                    if time.monotonic() > until:
                        raise TimeoutError from None
                    time.sleep(0.01)
            if _user_at_other_end(connection) != self._user:
                return b"", []  # a stranger, who has taken the name of a sender that has ended
            connection.send(self._number)
            # socket.recv_fds would not pass the flag on. Descriptors for which there is no room are dropped silently.
            space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
            answer, ancillary, _, _ = connection.recvmsg(1, space, socket.MSG_CMSG_CLOEXEC)
            received = array.array("i")
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    received.frombytes(data)
            return answer, received.tolist()

    def _complain_about_silence(self) -> NoReturn:
        if os.geteuid() not in (0, self._user):
            raise PermissionError(
                errno.EACCES,
                f"this {self._kind} was sent by a process of user {self._user}, which hands it out to its own user and "
                f"root only; this is a process of user {os.geteuid()}",
            )
        raise ConnectionError(
            f"process {self._pid}, which sent this {self._kind}, has ended: it must live until what it sent was "
            "unpickled"
        )


class _Offer:
    """Duplicates of the descriptors behind one shared object, open while a handle or an unused ticket refers to it."""

    def __init__(self, descriptors: Sequence[int]) -> None:
        self.secret = os.urandom(_SECRET_SIZE)
        self.numbers = itertools.count()
        self.descriptors: list[int] = []
        for descriptor in descriptors:
            self.descriptors.append(_with_room(partial(os.dup, descriptor)))

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        _close_all(self.descriptors)


class _Sender:
    """What this process has sent, and the thread that hands it out."""

    def __init__(self) -> None:
        # Recursive: a signal handler, or the garbage collector, may send something in the middle of everything.
        self.lock = threading.RLock()
        self._listener: socket.socket | None = None
        self._address = b""
        self._user = -1
        self._by_file: weakref.WeakValueDictionary[tuple[int, int, Hashable], _Offer] = weakref.WeakValueDictionary()
        self._by_secret: weakref.WeakValueDictionary[bytes, _Offer] = weakref.WeakValueDictionary()
        self._unused: dict[bytes, _Offer] = {}  # by number of the ticket; keeps the offer in existence

    def ticket(self, owner: Any, descriptors: Sequence[int], part: Hashable) -> _Ticket:
        present = [descriptor for descriptor in descriptors if descriptor >= 0]
        status = os.fstat(present[0])
        file = status.st_dev, status.st_ino, part
        with self.lock:
            if self._listener is None:
                self._start()
            offer = self._by_file.get(file)
            if offer is None or len(offer.descriptors) != len(present):
                offer = _Offer(present)
                self._by_file[file] = offer
                self._by_secret[offer.secret] = offer
            number = offer.secret + next(offer.numbers).to_bytes(_TICKET_SIZE - _SECRET_SIZE, "big")
            self._unused[number] = offer
        owner._offer = offer
        places = tuple(descriptor >= 0 for descriptor in descriptors)
        return _Ticket(self._address, number, places, type(owner).__name__, self._user)

    def _start(self) -> None:
        listener = _with_room(_new_socket)
        # In the abstract namespace: nothing to be left behind in the file system. Everybody can see the name, though.
        address = b"\0shoal:handles:" + os.urandom(_SECRET_SIZE).hex().encode()
        listener.settimeout(None)
        listener.bind(address)
        listener.listen(4096)
        # A signal must not come to this thread: the main thread would not notice, and sleep on.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            threading.Thread(target=self._serve, args=(listener,), name="shoal: handles", daemon=True).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._address = address
        self._user = os.geteuid()
        self._listener = listener

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = _with_room(listener.accept)
            except OSError:  # not even so, or no memory: whoever wants something goes on waiting
                time.sleep(0.05)
                continue
            with connection, contextlib.suppress(OSError):  # the receiver has ended, or is stopped
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        if _user_at_other_end(connection) not in (0, os.geteuid()):
            return
        connection.settimeout(_SENDER_PATIENCE)
        number = connection.recv(_TICKET_SIZE)
        offer = self._by_secret.get(number[:_SECRET_SIZE])
        if offer is None:
            connection.send(_UNKNOWN_TICKET)
        else:
            socket.send_fds(connection, [_HERE_THEY_ARE], offer.descriptors)
            self._unused.pop(number, None)

    def close_inherited(self) -> None:
        """In a child: what the parent has sent is the parent's to hand out."""
        if self._listener is not None:
            self._listener.close()
        for offer in list(self._by_secret.values()):
            offer.close()


_sender = _Sender()


def _begin_anew_in_child() -> None:
    global _sender
    _sender.close_inherited()
    _sender = _Sender()


os.register_at_fork(
    before=lambda: _sender.lock.acquire(),
    after_in_parent=lambda: _sender.lock.release(),
    after_in_child=_begin_anew_in_child,
)


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _user_at_other_end(connection: socket.socket) -> int:
    form = "3i"
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(form))
    user: int = struct.unpack(form, credentials)[1]
    return user


def _with_room(make: Callable[[], T]) -> T:
    """What `make` returns, after the limit of descriptors was raised if it has to be, as the core does for its own."""
    try:
        return make()
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
        _core.raise_descriptor_limit()
        return make()


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())

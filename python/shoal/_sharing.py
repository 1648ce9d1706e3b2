"""How the descriptors behind a handle get into another process.

A process that is being started is given them by its start method. At any other time, when a handle goes through a
connection or a queue, its pickle contains a ticket: the name of a socket of the sender, and a number that nobody can
guess. Unpickling presents the ticket there and gets duplicates of the descriptors, from a thread of the sender that
exists once a handle was sent. So the sender has to live until then.

`multiprocessing.resource_sharer` does something like it, but only for relatives, who know the same `authkey`, and only
once for each pickle. Here the sender's user is asked for instead, and a ticket may be used again as long as the sender
has the object itself: what comes back from a lease is unpickled a second time.
"""

from __future__ import annotations

from shoal import _stdlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Any


def duplicated_all(owner: Any, descriptors: Sequence[int], part: Hashable = None) -> Any:
    """What to pickle in place of `descriptors`, on behalf of the handle `owner`: an object with a method `detach`.

    In the process that unpickles it, `detach()` returns a tuple of as many descriptors for the same things, which are
    that process's own. One that is -1 stays -1. The first must be that of a memfd: it stands for all of them, together
    with `part` where they belong to a part of that memfd.

    It can be detached once, and any number of times while `owner`, or another handle on the same memfd that was sent,
    exists in this process. Until it was, duplicates stay open here; one set, however often the same thing is sent.
    `owner` is given an attribute `_offer`.

    Raises OSError if no descriptor is left. Threads: may be called concurrently. fork: the child serves what it sends
    itself; what the parent has sent, the parent serves.
    """
    if _stdlib.context.get_spawning_popen() is not None:
        return _TakenAlong(descriptors)
    from shoal import _tickets  # sockets and more

    return _tickets.ticket_for(owner, descriptors, part)


class _TakenAlong:
    """Descriptors that a process gets as it is started."""

    # Whether each call of detach() returns descriptors of its own, to be closed by whoever called it.
    each_time_new = False

    def __init__(self, descriptors: Sequence[int]) -> None:
        duplicate = _stdlib.reduction.DupFd
        self._sent = [None if descriptor < 0 else duplicate(descriptor) for descriptor in descriptors]

    def detach(self) -> tuple[int, ...]:
        return tuple(-1 if sent is None else sent.detach() for sent in self._sent)

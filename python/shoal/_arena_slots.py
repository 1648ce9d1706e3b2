"""How objects that lie in an arena of shared memory get into another process: `Lock`, `Value` and the like.

Their handles have a method `location`, which returns the descriptor of the arena and the place in it, and their
constructors take one as `attach`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from shoal import _stdlib
from shoal._sharing import duplicated_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Protocol

    class _InArena(Protocol):
        def location(self) -> tuple[int, int]: ...

    class _Polled(Protocol):
        def location(self) -> tuple[int, int, int]: ...


__all__ = ["location_in", "polled_location_in", "polled_state_of", "state_of"]


def state_of(shared: _InArena | _Polled) -> tuple[Any, int]:
    """What another process needs to reach it, to be pickled: the arena's descriptor and the slot in the arena."""
    arena, slot, *_ = shared.location()
    popen = _stdlib.context.get_spawning_popen()
    if popen is None:
        return duplicated_all(shared, (arena,)), slot
    # One descriptor for all locks of one arena.
    sent: dict[int, Any] = popen.__dict__.setdefault("_shoal_arenas", {})
    if arena not in sent:
        sent[arena] = duplicated_all(shared, (arena,))
    return sent[arena], slot


@contextmanager
def location_in(state: tuple[Any, int]) -> Iterator[tuple[int, int]]:
    """What to attach to, while the arena's descriptor is open."""
    sent, slot = state
    (arena,) = sent.detach()
    try:
        yield arena, slot
    finally:
        # One that this process got at its start stays open: other objects may come with the same one.
        if sent.each_time_new:
            os.close(arena)


def polled_state_of(shared: _Polled) -> tuple[Any, ...]:
    """The same of one that has a descriptor of its own as well."""
    arena, slot, readiness = shared.location()
    if _stdlib.context.get_spawning_popen() is None:
        return duplicated_all(shared, (arena, readiness), part=slot), slot
    own = duplicated_all(shared, (readiness,), part=(os.fstat(arena).st_ino, slot)) if readiness >= 0 else None
    return (*state_of(shared), own)


@contextmanager
def polled_location_in(state: tuple[Any, ...]) -> Iterator[tuple[int, int, int]]:
    """What to attach to, while the descriptors are open."""
    sent, slot, *own = state
    arena, *rest = sent.detach()
    (readiness,) = rest or (own[0].detach() if own[0] else (-1,))
    try:
        yield arena, slot, readiness
    finally:
        if sent.each_time_new:
            os.close(arena)
        if readiness >= 0:
            os.close(readiness)  # that of this object alone

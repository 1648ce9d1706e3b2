"""Who holds which lock and who waits for it, in this process and in others.

    python -m shoal.debug [PID]

prints the locks that are held or waited for, and which threads wait for each other in a circle; of all processes of
this user, or of the one with that number.

Looking disturbs nobody: it takes no lock, and works while the program hangs. What is seen was true at some moment of
the call. A thread that has waited for a second shows where in its Python program it waits.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from dataclasses import dataclass

from shoal import _core
from shoal._lock_reports import process_name, seconds_since, thread_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

__all__ = ["Cycle", "LockInfo", "ThreadInfo", "WaitingThread", "deadlocks", "describe", "locks"]

_KINDS = {
    2: "Event",
    3: "Lock",
    4: "RLock",
    5: "shared_mutex",
    6: "Semaphore",
    7: "Condition",
    8: "Barrier",
    9: "latch",
}


@dataclass(frozen=True)
class ThreadInfo:
    """A thread that holds a lock, or waits for one.

    `thread` is its number in the system, as `threading.get_native_id`; that of a main thread is its process's. `pid` is
    0 if it is not known any more, the names are None. `seconds` is for how long it has held the lock or waited, None if
    that is not known. One that has ended is not `alive`.
    """

    pid: int
    thread: int
    process_name: str | None
    thread_name: str | None
    seconds: float | None
    alive: bool = True
    stack: str = ""  # where it waits, as a traceback shows it; empty if it has not told

    def __str__(self) -> str:
        if self.pid == 0:
            return "a thread that is not known any more"
        text = f"process {self.pid}" + (f" ({self.process_name})" if self.process_name else "")
        if self.thread != self.pid:
            text += f", thread {self.thread}" + (f" ({self.thread_name})" if self.thread_name else "")
        if self.seconds is not None:
            text += f", for {self.seconds:.1f} s"
        return text if self.alive else f"{text}, has ended"


@dataclass(frozen=True)
class LockInfo:
    """A lock, or another object that processes synchronize by. Its kind is called as in Python where that has it."""

    kind: str
    label: str  # empty if it was given none
    location: tuple[int, int]  # inode of its memory, and the place there: different for all locks on this machine
    holder: ThreadInfo | None = None
    readers: tuple[ThreadInfo, ...] = ()  # who holds a shared_mutex shared
    waiters: tuple[ThreadInfo, ...] = ()
    # Units of a Semaphore; 1 for an Event that is set; how many have come to a Barrier; the count of a latch.
    value: int | None = None
    parties: int | None = None  # of a Barrier
    broken: bool = False  # a Barrier; or a lock that was given up, in C++, after its holder had died

    @property
    def name(self) -> str:
        """Kind and label, or where it is if it has none."""
        return f"{self.kind} {self.label!r}" if self.label else f"{self.kind} at {self.location[0]}:{self.location[1]}"

    @property
    def in_use(self) -> bool:
        """Whether somebody holds it or waits for it."""
        return bool(self.holder or self.readers or self.waiters)

    def describe(self) -> str:
        """All that is known of it, a line for each thread."""
        lines = [f"{self.name}{self._state()}"]
        if self.holder is not None:
            lines.append(f"    held by {self.holder}")
        lines += [f"    shared by {reader}" for reader in self.readers]
        for waiter in self.waiters:
            lines.append(f"    waiting: {waiter}")
            lines += [f"        {line}" for line in waiter.stack.splitlines()]
        return "\n".join(lines)

    __str__ = describe

    def _state(self) -> str:
        state = {
            "Semaphore": f": {self.value} free",
            "Event": ": set" if self.value else ": not set",
            "Barrier": f": {self.value} of {self.parties} have come",
            "latch": f": {self.value} to go",
            "Condition": "",
        }.get(self.kind, "" if self.holder or self.readers else ": free")
        return f"{state}, broken" if self.broken else state


@dataclass(frozen=True)
class WaitingThread:
    """A link of a circle: a thread, the lock that it waits for, and the thread that has that lock."""

    waiter: ThreadInfo
    lock: LockInfo
    holder: ThreadInfo

    @property
    def pid(self) -> int:
        return self.waiter.pid

    @property
    def thread(self) -> int:
        return self.waiter.thread

    @property
    def label(self) -> str:
        return self.lock.label

    @property
    def stack(self) -> str:
        """Where the waiter waits; empty if it has not told."""
        return self.waiter.stack


class Cycle(tuple[WaitingThread, ...]):
    """Threads each of which waits for the next one, and the last for the first."""

    __slots__ = ()

    def describe(self) -> str:
        """The circle in words."""
        lines = [f"Deadlock of {len(self)} thread{'s' if len(self) > 1 else ''}:"]
        for link in self:
            lines.append(f"    {link.waiter}")
            whom = "itself" if _key(link.holder) == _key(link.waiter) else str(link.holder)
            lines.append(f"        waits for {link.lock.name}, which is held by {whom}")
            lines += [f"            {line}" for line in link.stack.splitlines()]
        return "\n".join(lines)

    __str__ = describe


def locks(pid: int | None = None) -> list[LockInfo]:
    """All locks and the like that this process knows, or process `pid`; also those that nobody holds.

    Another process must be of the same user: OSError if it is not, or has ended. One that is stopped can be looked at.
    """
    names = _Names()
    return [_lock_info(found, names) for found in _core.survey_locks(pid)]


def deadlocks(pid: int | None = None) -> list[Cycle]:
    """The circles of threads that wait for each other.

    Looked for in this process, or process `pid`, and in all that share locks with it, and so on. A circle is reported
    if it was there twice in a row, with the same threads in the same waits. It may still end: by a timeout, a signal,
    or the release of a `Lock` by a thread that does not hold it.
    """
    processes = _connected({os.getpid() if pid is None else pid})
    return _deadlocks_among(processes)


def describe(found: Iterable[LockInfo]) -> str:
    """Locks as text for people, those that are in use first; the others are counted."""
    used, idle = [], 0
    for lock in found:
        if lock.in_use:
            used.append(lock.describe())
        else:
            idle += 1
    if idle:
        used.append(f"{idle} more that nobody holds or waits for")
    return "\n".join(used)


# --- From what the core has seen --------------------------------------------------------------------------------------


class _Names:
    """The names of processes and threads, each looked up once."""

    def __init__(self) -> None:
        self._processes: dict[int, str | None] = {}
        self._threads: dict[tuple[int, int], str | None] = {}

    def thread_info(self, pid: int, thread: int, since: int, alive: bool, stack: str = "") -> ThreadInfo:
        if pid not in self._processes:
            self._processes[pid] = process_name(pid)
        key = pid, thread
        if key not in self._threads:
            self._threads[key] = thread_name(pid, thread)
        seconds = seconds_since(since) if since else None
        return ThreadInfo(pid, thread, self._processes[pid], self._threads[key], seconds, alive, _with_source(stack))


_FRAME = re.compile(r'File "(.*)", line (\d+), in .*')


def _with_source(stack: str) -> str:
    """The same, with the lines of source as far as their files can be read here."""
    lines = []
    for line in stack.splitlines():
        lines.append(line)
        frame = _FRAME.fullmatch(line)
        source = linecache.getline(frame[1], int(frame[2])).strip() if frame else ""
        if source:
            lines.append(f"  {source}")
    return "\n".join(lines)


def _lock_info(found: dict[str, Any], names: _Names) -> LockInfo:
    holder = found["holder"]
    return LockInfo(
        kind=_KINDS.get(found["kind"], f"kind {found['kind']}"),
        label=found["label"],
        location=found["location"],
        holder=None if holder is None else names.thread_info(*holder),
        readers=tuple(names.thread_info(*reader) for reader in found["readers"]),
        waiters=tuple(
            names.thread_info(pid, thread, since, True, stack) for pid, thread, since, stack in found["waiters"]
        ),
        value=found["value"],
        parties=found["parties"] or None,
        broken=found["broken"],
    )


def _key(thread: ThreadInfo) -> tuple[int, int]:
    return thread.pid, thread.thread


def _connected(processes: set[int]) -> set[int]:
    """These processes, and those that use locks which one of them knows, and so on."""
    known: set[int] = set()
    new = set(processes)
    while new:
        pid = new.pop()
        known.add(pid)
        try:
            neighbours = _core.processes_with_locks(pid)
        except OSError:  # of another user, or ended
            if pid in processes:
                raise
            known.discard(pid)
            continue
        new |= set(neighbours) - known
    return known


def _locks_of(processes: Iterable[int]) -> list[LockInfo]:
    names = _Names()
    found: dict[tuple[int, int], LockInfo] = {}
    for pid in processes:
        try:
            survey = _core.survey_locks(pid)
        except OSError:  # ended meanwhile
            continue
        for lock in survey:
            if lock["location"] not in found:
                found[lock["location"]] = _lock_info(lock, names)
    return list(found.values())


def _links(found: Iterable[LockInfo]) -> dict[tuple[int, int], list[WaitingThread]]:
    """Who waits for whom, by the waiting thread. A thread that has ended frees what it holds, or its process does."""
    links: dict[tuple[int, int], list[WaitingThread]] = {}
    for lock in found:
        holders = [holder for holder in (lock.holder, *lock.readers) if holder is not None and holder.alive]
        for waiter in lock.waiters:
            for holder in holders:
                links.setdefault(_key(waiter), []).append(WaitingThread(waiter, lock, holder))
    return links


def _cycles(links: dict[tuple[int, int], list[WaitingThread]]) -> Iterator[Cycle]:
    """Each circle that a walk from some thread comes back by; none twice."""
    done: set[tuple[int, int]] = set()
    for start in links:
        path: list[WaitingThread] = []
        on_path: dict[tuple[int, int], int] = {}
        # Depth first, with a stack of its own: a chain of waiting threads may be long.
        todo = [(0, link) for link in links[start]] if start not in done else []
        while todo:
            depth, link = todo.pop()
            for left in path[depth:]:
                del on_path[_key(left.waiter)]
                done.add(_key(left.waiter))
            del path[depth:]
            on_path[_key(link.waiter)] = depth
            path.append(link)
            target = _key(link.holder)
            if target in on_path:
                yield Cycle(path[on_path[target] :])
            elif target not in done:
                todo += [(depth + 1, following) for following in links.get(target, ())]
        done.update(on_path)


def _identity(cycle: Cycle) -> frozenset[tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    return frozenset((_key(link.waiter), link.lock.location, _key(link.holder)) for link in cycle)


def _deadlocks_among(processes: Iterable[int]) -> list[Cycle]:
    members = list(processes)
    suspected = list(_cycles(_links(_locks_of(members))))
    if not suspected:
        return []
    still_there = {_identity(cycle): cycle for cycle in _cycles(_links(_locks_of(members)))}
    confirmed = []
    for before in suspected:
        now = still_there.get(_identity(before))
        if now is not None and _has_waited_on(before, now):
            confirmed.append(now)
    return confirmed


def _has_waited_on(before: Cycle, now: Cycle) -> bool:
    """Whether in all the links nobody has waited anew."""
    waited = {_key(link.waiter): link.waiter.seconds for link in before}
    return all((link.waiter.seconds or 0) >= (waited[_key(link.waiter)] or 0) for link in now)


def _processes_of_this_user() -> set[int]:
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if _core.processes_with_locks(int(name)):
                    found.add(int(name))
            except OSError:
                continue
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) > 1 or (arguments and not arguments[0].isdigit()):
        print("usage: python -m shoal.debug [PID]", file=sys.stderr)
        return 2
    try:
        processes = _connected({int(arguments[0])}) if arguments else _processes_of_this_user()
    except OSError as error:
        print(f"process {arguments[0]} cannot be looked at: {error}", file=sys.stderr)
        return 1
    found = _locks_of(processes)
    print(describe(found) or "No locks of Shoal's were found.")
    cycles = _deadlocks_among(processes)
    print()
    print("\n".join(cycle.describe() for cycle in cycles) if cycles else "No deadlock.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

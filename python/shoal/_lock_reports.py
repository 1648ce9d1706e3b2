"""What is said of locks: who holds one, who has died with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

from shoal import _stdlib
from shoal.errors import LockTimeout, OwnerDied

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["owner_died", "process_name", "seconds_since", "text_of_holder", "thread_name", "timed_out"]


def seconds_since(moment: int) -> float:
    """How long ago that was on the monotonic clock, in nanoseconds, as locks have it."""
    return max(0.0, time.monotonic() - moment / 1e9)


def process_name(pid: int) -> str | None:
    """The name of a process of this program, as `Process.name`; of another, that of its program; None: it has ended."""
    if pid == os.getpid():
        return str(_stdlib.process.current_process().name)
    parent = _stdlib.process.parent_process()
    if parent is not None and parent.pid == pid:
        return str(parent.name)
    for child in _children():
        if child._popen.pid == pid and child._popen.returncode is None:
            return str(child.name)
    return _first_line(f"/proc/{pid}/comm")


def thread_name(pid: int, thread: int) -> str | None:
    """The name of a thread, of another process the one that the system knows; None: it has ended."""
    if pid == os.getpid():
        # Not by threading.enumerate(): this may run in a signal handler that has interrupted it, under its lock.
        for known in list(getattr(threading, "_active", {}).values()):
            if known.native_id == thread:
                return str(known.name)
    return _first_line(f"/proc/{pid}/task/{thread}/comm")


def _children() -> list[Any]:
    """The children of this process, also of those that have ended, as far as somebody still refers to them."""
    known = set(_stdlib.process._children)
    with contextlib.suppress(RuntimeError):  # another thread starts a process in this moment
        known.update(_stdlib.process._dangling)
    return [child for child in known if child._parent_pid == os.getpid() and child._popen is not None]


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().rstrip("\n")
    except OSError:
        return None


def _named(kind: str, number: int, name: str | None) -> str:
    return f"{kind} {number}" if name is None else f"{kind} {number} ({name})"


def _text_of_thread(pid: int, thread: int) -> str:
    if pid == 0:
        return "a thread that is not known any more"
    of_process = _named("process", pid, process_name(pid))
    return of_process if thread == pid else f"{_named('thread', thread, thread_name(pid, thread))} of {of_process}"


def _text_of_lock(lock: Any) -> str:
    label = lock.label
    return f"{type(lock).__name__} {label!r}" if label else f"this {type(lock).__name__}"


def text_of_holder(lock: Any) -> str:
    """Who holds it since when, as the end of a sentence."""
    holder = lock._holder()
    if holder is None:
        return "nobody holds it now"
    pid, thread, since, _ = holder
    who = "this very thread" if (pid, thread) == _this_thread() else _text_of_thread(pid, thread)
    return f"{who} has held it for {seconds_since(since):.1f} s"


def _this_thread() -> tuple[int, int]:
    return os.getpid(), threading.get_native_id()


def _held_by_this_thread(lock: Any) -> bool:
    return bool(lock._is_mine())


_USE_AN_RLOCK = "A Lock cannot be acquired twice, even by the thread that holds it; an RLock can"


def timed_out(lock: Any, timeout: float) -> LockTimeout:
    """What `acquire(raises=True)` raises."""
    waiting: int = lock._waiting()
    others = f", and {waiting} more {'threads wait' if waiting > 1 else 'thread waits'} for it" if waiting else ""
    text = f"{_text_of_lock(lock)} was not to be had within {timeout:g} s: {text_of_holder(lock)}{others}."
    if _held_by_this_thread(lock):
        text += f" {_USE_AN_RLOCK}."
    return LockTimeout(text)


def waited_for_itself(lock: Any) -> str:
    """What is warned of when a thread has waited in vain for a Lock that it holds."""
    return f"acquire() of {_text_of_lock(lock)} timed out, and {text_of_holder(lock)}. {_USE_AN_RLOCK}."


def owner_died(lock: Any, pid: int, thread: int, since: int, is_held: bool) -> OwnerDied:
    """What `acquire` raises once it got a lock whose holder has died."""
    known = pid if pid > 0 else None
    exitcode = _exit_code_of_child(pid) if known is not None else None
    if known is None:
        text = f"the holder of {_text_of_lock(lock)}, who is not known any more, has died with it"
    else:
        end = _text_of_end(exitcode)
        text = f"{_text_of_dead(pid, thread)} {end} while it held {_text_of_lock(lock)}"
        if since:
            text += f", which it had acquired {seconds_since(since):.1f} s ago"
    text += ". What the lock guards may be half changed. "
    if is_held:
        text += "The lock is held by this thread now: put that right, and release it"
    else:
        text += "The lock was given back, and nobody else is told: put that right under the lock"
    text += " (on_owner_death='recover' goes on without a word)."
    return OwnerDied(text, pid=known, exitcode=exitcode, thread=thread if known is not None else None, label=lock.label)


def _text_of_dead(pid: int, thread: int) -> str:
    name = next((str(child.name) for child in _children() if child._popen.pid == pid), None)
    process = _named("process", pid, name)
    return process if thread == pid else f"{process}, by its thread {thread},"


def _text_of_end(exitcode: int | None) -> str:
    if exitcode is None:
        return "has ended"
    if exitcode >= 0:
        return f"has ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def _exit_code_of_child(pid: int) -> int | None:
    """How a child of this process has ended, without reaping it; None if it is none, or nobody knows any more."""
    for child in _children():
        if child._popen.pid == pid and child._popen.returncode is not None:  # it was reaped
            return int(child._popen.returncode)
    try:
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except OSError:
        return None
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

"""Money moves between two accounts that processes share, and a process is killed in the middle of it.

The next one to lock the accounts is told so, puts them right, and goes on.

    python killed_holder.py
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import shoal

TOTAL = 1000
CHECKING, SAVINGS = range(2)


@contextmanager
def locked(accounts: shoal.Array[int]) -> Iterator[None]:
    lock = accounts.get_lock()
    try:
        lock.acquire()
    except shoal.OwnerDied as death:  # and the lock is ours
        print(death)
        accounts[CHECKING] = TOTAL - accounts[SAVINGS]  # what is not in the one is in the other
    try:
        yield
    finally:
        lock.release()


def save(accounts: shoal.Array[int], amount: int, gets_killed: bool = False) -> None:
    with locked(accounts):
        accounts[CHECKING] -= amount
        if gets_killed:
            os.kill(os.getpid(), signal.SIGKILL)
        accounts[SAVINGS] += amount


def main() -> None:
    accounts = shoal.Array("q", [TOTAL, 0])
    for gets_killed in (False, True):
        child = shoal.Process(target=save, args=(accounts, 300, gets_killed))
        child.start()
        child.join()
        print(f"a child ended with {child.exitcode}")
    with locked(accounts):
        print(f"checking {accounts[CHECKING]}, savings {accounts[SAVINGS]}")


if __name__ == "__main__":
    main()

"""This process's pidfd on itself, which its children get to see it end (`parent_process().sentinel`)."""

from __future__ import annotations

import os


class _SelfReference:
    def __init__(self) -> None:
        self._pid = 0
        self._descriptor = -1
        self._of_parent = -1

    def descriptor(self) -> int:
        """The pidfd, opened at the first use in each process.

        Raises OSError if no descriptor is left.
        """
        if self._pid != os.getpid():
            self._descriptor = os.pidfd_open(os.getpid())
            self._pid = os.getpid()
        return self._descriptor

    def become_parents(self) -> int:
        """In a new fork: what is the child's own is opened anew, and what has led to the grandparent is of no use."""
        if self._of_parent >= 0:
            os.close(self._of_parent)
        self._of_parent = self._descriptor
        self._pid = 0
        return self._of_parent


self_reference = _SelfReference()

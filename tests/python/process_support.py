"""What becomes of processes that are not this one's children."""

from __future__ import annotations

from pathlib import Path


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or would be if somebody were there to reap it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it goes while its file is being read
        return True

"""Exit codes of workers in words."""

from __future__ import annotations

import signal


def how_it_ended(exitcode: int, max_memory: int | None = None) -> str:
    """What became of a process, to go on with after "it". `max_memory`: the limit that it had, if any."""
    limit = "" if max_memory is None else f"its limit was {in_bytes(max_memory)}"
    if exitcode == 0 or (exitcode > 0 and not limit):
        return f"ended the process with exit status {exitcode}"
    if exitcode > 0:
        return f"ended the process with exit status {exitcode}; perhaps it lacked memory ({limit})"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    if name == "SIGKILL":
        return f"was killed by {name}; perhaps the machine ran out of memory" + (f" ({limit})" if limit else "")
    # What cannot allocate and does not check ends in one of these.
    if limit and name in ("SIGABRT", "SIGSEGV", "SIGBUS"):
        return f"was killed by {name}; perhaps it lacked memory ({limit})"
    return f"was killed by {name}"


def in_bytes(number: int) -> str:
    """A number of bytes in the largest unit that leaves at least one: 2 GiB, 1.5 MiB, 900 bytes."""
    unit = ""
    amount: float = number
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount /= 1024
        unit = larger
    return f"{amount:.3g} {unit}" if unit and amount < 1000 else f"{amount:.0f} {unit or 'bytes'}"

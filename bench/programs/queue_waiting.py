"""Let a process wait in `get` for SECONDS: print what that costs a second.

usage: queue_waiting.py LIBRARY wakeups|processor SECONDS        (processor: in microseconds)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from libraries import fork_context


def status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1]
    raise RuntimeError(f"no {name} of the waiting process")


def wakeups(pid: int) -> float:
    return float(status(pid, "voluntary_ctxt_switches"))


def processor_microseconds(pid: int) -> float:
    # The clock of another process's processor time, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e3


def await_sleep(pid: int) -> None:
    """Return when the process waits in `get`, and right after it has woken there if it does so once a second."""
    time.sleep(0.2)  # while it starts, it sleeps for other reasons
    while status(pid, "State") != "S":
        time.sleep(0.01)
    before, deadline = wakeups(pid), time.monotonic() + 1.1
    while wakeups(pid) == before and time.monotonic() < deadline:
        time.sleep(0.005)


def main() -> None:
    library, what, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    context = fork_context(library)
    queue = context.Queue()
    waiting = context.Process(target=queue.get)
    waiting.start()
    amount = wakeups if what == "wakeups" else processor_microseconds
    await_sleep(waiting.pid)
    before, begin = amount(waiting.pid), time.monotonic()
    # Somewhat longer, so that what comes a second after the last time, or a little later, is counted.
    time.sleep(seconds + 0.05)
    grown, taken = amount(waiting.pid) - before, time.monotonic() - begin
    queue.put(None)
    waiting.join()
    print(grown / taken)


if __name__ == "__main__":
    main()

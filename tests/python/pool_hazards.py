"""What has made pools hang, as programs: each does one such thing, goes on using the pool, and ends.

    pool_hazards.py LIBRARY METHOD CASE       print what came of it; LIBRARY is shoal or multiprocessing
    pool_hazards.py --compare METHOD [CASE]   run the cases with both, each with a bound, and print what they did

The programs call the pool without timeouts, as most programs do.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time

import pool_hazards_of_limits
import pool_hazards_of_owners
import pool_hazards_of_workers
from pool_hazard_support import HAZARDS

# The programs; each has put itself into HAZARDS.
PROGRAMS = (pool_hazards_of_workers, pool_hazards_of_owners, pool_hazards_of_limits)

# A fresh interpreter takes a second to start on a loaded machine, and a worker that ignores SIGTERM is given five.
LIMIT = 40.0


def run(library: str, method: str, case: str, limit: float = LIMIT) -> str:
    """Run a program in a folder and session of its own. Return what it printed, or how it ended otherwise."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, library, method, case],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return "hangs"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    ending = "" if process.returncode == 0 else f"status {process.returncode}\n{err}"
    return f"{out.strip()}{ending}"


def compare(method: str, cases: list[str]) -> None:
    for case in cases or HAZARDS:
        for library in ("multiprocessing", "shoal"):
            began = time.monotonic()
            found = run(library, method, case, limit=15.0).strip().splitlines() or [""]
            print(f"{case:42} {library:16} {time.monotonic() - began:5.1f} s  {found[0][:100]}", flush=True)


def main() -> None:
    if sys.argv[1] == "--compare":
        compare(sys.argv[2], sys.argv[3:])
        return
    library, method, case = sys.argv[1:]
    print(HAZARDS[case].program(importlib.import_module(library).get_context(method)), flush=True)


if __name__ == "__main__":
    main()

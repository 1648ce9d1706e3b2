"""Checks the models of the protocols with SPIN: every state, and that each mutant is found wrong.

    python3 tests/model/run.py [NAME]     only the models whose name begins with NAME

See docs/design/model.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
MEMORY_MB = 3000
DEPTH = 100_000
SECONDS = 600


class Case(NamedTuple):
    model: str
    defines: str  # NAME=VALUE, separated by blanks
    is_sound: bool = True

    def __str__(self) -> str:
        return f"{self.model} {self.defines}".rstrip()


class Outcome(NamedTuple):
    case: Case
    states: int
    seconds: float
    complaint: str  # empty: it is as it should be


# What must be right.
SOUND = [
    Case("wakeup", "KILLS=1"),
    Case("wakeup", "KILLS=0 CAPACITY=1"),
    Case("wakeup", "KILLS=1 CAPACITY=1 CONSUMERS=1"),
    Case("heap", "KILLS=1 RECORDS=2 WRITER=1 CONSUMERS=2"),
    Case("heap", "KILLS=2 RECORDS=2 WRITER=1 CONSUMERS=1"),
    Case("heap", "KILLS=2 RECORDS=3 CONSUMERS=2"),
    Case("leases", "KILLS=2 USERS=3"),
    Case("readiness", "KILLS=2 OTHER=HOLDER"),
    Case("readiness", "KILLS=2 OTHER=CLOSER"),
    Case("readiness", "KILLS=2 OTHER=PRODUCER"),
    Case("room", "KILLS=2 CLOSER=1"),
    Case("room", "KILLS=2 CLOSER=0"),
    Case("notice", ""),
    Case("event", "KILLS=2 OTHER=SETTER LOOKS=0 SOME=1"),
    Case("event", "KILLS=1 OTHER=SETTER LOOKS=0 SOME=2"),
    Case("event", "KILLS=2 OTHER=CLEARER SOME=1"),
    Case("event", "KILLS=2 OTHER=STARTER LOOKS=0 SOME=2"),
    Case("owner_lock", "KILLS=1 LATE=0 IMPATIENT=1"),
    Case("owner_lock", "KILLS=1 LATE=0 LOCKS=2"),
    Case("owner_lock", "KILLS=1 OTHERS=1"),
    Case("owner_lock", "KILLS=2 LATE=0 OTHERS=1 EARLY=2"),
    Case("owner_lock", "KILLS=0 LATE=0 IMPATIENT=1 TWICE=1"),
    Case("owner_lock", "KILLS=0 LATE=0 EARLY=1 TORN=1"),
    Case("owner_lock", "KILLS=0 LATE=0 RELEASE=1"),
    Case("condition", "KILLS=1"),
    Case("condition", "KILLS=2 WAITERS=2 EARLY=1"),
    Case("condition", "KILLS=1 WAITERS=2 LATE=1"),
    Case("condition", "KILLS=0 NOTIFIES=2"),
    Case("condition", "KILLS=0 ALL=1"),
    Case("condition", "KILLS=1 WAITERS=2 ALL=1"),
    Case("condition", "KILLS=0 IMPATIENT=1 SIGNAL=1"),
    Case("condition", "KILLS=0 LOCKED=0 WAITERS=1 ROUNDS=2"),
    Case("barrier", "KILLS=2"),
    Case("barrier", "KILLS=1 PARTIES=2"),
    Case("barrier", "KILLS=1 THREADS=2 ROUNDS=2 RESETS=1"),
    Case("barrier", "KILLS=1 THREADS=2 ROUNDS=2 DROP=1"),
    Case("barrier", "KILLS=2 THREADS=2 LATE=1 EARLY=1"),
    Case("barrier", "KILLS=0 THREADS=2 ROUNDS=2 IMPATIENT=1 SIGNAL=1 RESETS=1"),
    Case("barrier", "KILLS=0 PARTIES=2 SIGNAL=1"),
    Case("shared_mutex", "KILLS=0"),
    Case("shared_mutex", "KILLS=2 WRITERS=1 EARLY=1"),
    Case("shared_mutex", "KILLS=2 READERS=1"),
    Case("shared_mutex", "KILLS=1 READERS=1 IMPATIENT=1"),
    Case("shared_mutex", "KILLS=2 WRITERS=1 LATE=1"),
]

# What must be found wrong: a step of the protocol is missing, or in the wrong place.
MUTANTS = [
    *(Case("wakeup", f"KILLS=0 MUTANT={number}", False) for number in (1, 2, 3)),
    Case("wakeup", "KILLS=0 PRODUCERS=1 MUTANT=4", False),
    *(Case("wakeup", f"KILLS=1 MUTANT={number}", False) for number in (5, 6, 7)),
    *(Case("heap", f"KILLS=1 RECORDS=3 MUTANT={number}", False) for number in (1, 2, 3, 5, 7)),
    *(Case("heap", f"KILLS=1 RECORDS=2 WRITER=1 CONSUMERS=1 MUTANT={number}", False) for number in (4, 6)),
    *(Case("leases", f"KILLS=1 USERS=3 MUTANT={number}", False) for number in (1, 2, 3, 4, 5)),
    *(Case("readiness", f"KILLS=2 OTHER=HOLDER MUTANT={number}", False) for number in (1, 2, 3, 4, 5, 6)),
    *(Case("room", f"KILLS=2 CLOSER=1 MUTANT={number}", False) for number in (1, 2, 3, 4)),
    *(Case("notice", f"MUTANT={number}", False) for number in (1, 2, 3, 4)),
    *(Case("event", f"KILLS=1 OTHER=SETTER LOOKS=0 MUTANT={number}", False) for number in (1, 2, 3, 4, 5)),
    Case("event", "KILLS=1 OTHER=STARTER LOOKS=0 MUTANT=6", False),
    Case("owner_lock", "KILLS=1 OTHERS=1 MUTANT=1", False),
    *(Case("owner_lock", f"KILLS=0 LATE=0 TORN=1 MUTANT={number}", False) for number in (2, 9)),
    Case("owner_lock", "KILLS=1 LATE=0 LOCKS=2 MUTANT=3", False),
    *(Case("owner_lock", f"KILLS=1 LATE=0 MUTANT={number}", False) for number in (4, 5)),
    Case("owner_lock", "KILLS=0 LATE=0 IMPATIENT=1 TWICE=1 MUTANT=6", False),
    *(Case("owner_lock", f"KILLS=0 LATE=0 MUTANT={number}", False) for number in (7, 8)),
    Case("condition", "KILLS=0 LOCKED=0 WAITERS=1 ROUNDS=2 MUTANT=1", False),
    Case("condition", "KILLS=2 WAITERS=2 LATE=1 MUTANT=2", False),
    Case("condition", "KILLS=0 WAITERS=2 SIGNAL=1 MUTANT=3", False),
    Case("condition", "KILLS=0 WAITERS=2 IMPATIENT=1 MUTANT=4", False),
    *(Case("condition", f"KILLS=0 LOCKED=0 WAITERS=2 MUTANT={number}", False) for number in (5, 10)),
    Case("condition", "KILLS=1 WAITERS=2 LATE=1 MUTANT=6", False),
    *(Case("condition", f"KILLS=1 MUTANT={number}", False) for number in (7, 8)),
    Case("condition", "KILLS=0 MUTANT=9", False),
    *(Case("barrier", f"KILLS=1 THREADS=2 MUTANT={number}", False) for number in (1, 5)),
    Case("barrier", "KILLS=0 THREADS=2 RESETS=1 MUTANT=2", False),
    *(Case("barrier", f"KILLS=0 THREADS=2 ROUNDS=2 IMPATIENT=1 MUTANT={number}", False) for number in (3, 4)),
    Case("barrier", "KILLS=0 THREADS=2 ROUNDS=2 DROP=1 MUTANT=6", False),
    *(Case("barrier", f"KILLS=0 PARTIES=2 SIGNAL=1 MUTANT={number}", False) for number in (7, 10)),
    Case("barrier", "KILLS=1 THREADS=2 LATE=1 MUTANT=8", False),
    Case("barrier", "KILLS=0 IMPATIENT=1 MUTANT=9", False),
    *(Case("shared_mutex", f"KILLS=0 MUTANT={number}", False) for number in (1, 2, 3)),
    *(Case("shared_mutex", f"KILLS=0 WRITERS=1 MUTANT={number}", False) for number in (4, 5)),
    Case("shared_mutex", "KILLS=1 WRITERS=1 MUTANT=6", False),
    Case("shared_mutex", "KILLS=0 WRITERS=1 EARLY=1 MUTANT=7", False),
    Case("shared_mutex", "KILLS=1 IMPATIENT=1 MUTANT=8", False),
    Case("shared_mutex", "KILLS=1 WRITERS=1 LATE=1 MUTANT=9", False),
]


def output_of(command: list[str], folder: str) -> str:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
    )
    return done.stdout


def complaint_about(case: Case, output: str) -> str:
    errors = re.search(r"errors: (\d+)", output)
    if errors is None or "max search depth too small" in output or "reached -DMEMLIM" in output:
        return "not checked to the end:\n" + output
    if case.is_sound and errors[1] != "0":
        return "an error was found:\n" + output
    if not case.is_sound and errors[1] == "0":
        return "the mutant was not found wrong"
    return ""


def check(case: Case) -> Outcome:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="shoal-model-") as folder:
        defines = [f"-D{define}" for define in case.defines.split()]
        output = output_of(["spin", "-a", *defines, str(FOLDER / f"{case.model}.pml")], folder)
        # Compiling takes longer than running most mutants: an error is found soon.
        optimized = "-O2" if case.is_sound else "-O0"
        compile_it = ["cc", optimized, "-DSAFETY", "-DNOREDUCE", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c"]
        output += output_of(compile_it, folder)
        try:
            output += output_of(["./pan", f"-m{DEPTH}", "-n"], folder)
        except (OSError, subprocess.TimeoutExpired) as failure:
            output += str(failure)
    states = re.search(r"(\d+) states, stored", output)
    return Outcome(case, int(states[1]) if states else 0, time.monotonic() - began, complaint_about(case, output))


def main() -> int:
    for tool, package in (("spin", "spin"), ("cc", "build-essential")):
        if shutil.which(tool) is None:
            print(f"{tool} is needed to check the models: sudo apt-get install {package}", file=sys.stderr)
            return 2
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = [case for case in SOUND + MUTANTS if case.model.startswith(wanted)]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for outcome in workers.map(check, cases):
            failed += outcome.complaint != ""
            verdict = outcome.complaint or ("no errors" if outcome.case.is_sound else "found wrong, as it should be")
            print(f"{outcome.case!s:<70} {outcome.states:>9} states {outcome.seconds:5.1f} s  {verdict}", flush=True)
    print(f"shoal: {len(cases) - failed} of {len(cases)} models and mutants as they should be")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the same program in one process, with multiprocessing and with Shoal, and compare reports and times.

    scripts/demo.py [--rounds N] [--cpp PROGRAM] [FOLDER]

The program is examples/source_census.py, unchanged; Shoal is what this interpreter has installed, not the tree.
"""

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "examples" / "source_census.py"

# A run takes some seconds. One that takes so long hangs.
LIMIT = 600

SERIAL = "in one process"
STDLIB = "multiprocessing"
SHOAL = "shoal"
CPP = "C++ sibling"


class Cost(NamedTuple):
    """What a run took."""

    wall: float  # seconds from start to end
    cpu: float  # seconds of CPU of all its processes together


class DisagreementError(Exception):
    """Two runs did not report the same."""


def timed(*command):
    """Run a command, and return what it took and what it printed."""
    # In a folder of its own: Python would prefer modules in the current one to those that are installed.
    with tempfile.TemporaryDirectory() as folder:
        began, cpu_before = time.perf_counter(), cpu_seconds_of_children()
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, timeout=LIMIT)
        return Cost(time.perf_counter() - began, cpu_seconds_of_children() - cpu_before), done.stdout


def cpu_seconds_of_children():
    """Return the CPU time of all children that were waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_python(folder, *before, options=()):
    """Run the program, and return what it took and its report."""
    cost, printed = timed(sys.executable, *before, PROGRAM, *options, "--json", "/dev/stdout", folder)
    return cost, json.loads(printed)


def run_cpp(program, folder):
    """Run the C++ sibling, and return what it took and those totals that the other's report has too."""
    cost, printed = timed(program, folder)
    return cost, {what: int(re.search(rf"^(\d+) {what}$", printed, re.MULTILINE)[1]) for what in ("files", "lines")}


def check_equal(report, expected, who):
    """Raise DisagreementError, naming what differs, unless all that a report says is as expected."""
    different = [what for what in report if report[what] != expected[what]]
    if different:
        lines = [f"  {what}: {report[what]!r}, expected {expected[what]!r}" for what in different]
        raise DisagreementError("\n".join([f"What {who!r} reports is not what {SERIAL!r} reported:", *lines]))


def run_all(folder, rounds, cpp):
    """Run everything; return the report that all agree on, and for each way of running what its runs took."""
    ways = {STDLIB: lambda: run_python(folder), SHOAL: lambda: run_python(folder, "-m", "shoal")}
    if cpp:
        ways[CPP] = lambda: run_cpp(cpp, folder)
    for path in Path(folder).rglob("*.py"):
        if path.is_file():
            path.read_bytes()  # so that it is in memory: no run shall be the one that waits for the disk

    print(f"   {SERIAL}", flush=True)
    cost, report = run_python(folder, options=["--serial"])
    costs = {SERIAL: [cost], **{name: [] for name in ways}}
    for number in range(rounds):
        print(f"   round {number + 1} of {rounds}", flush=True)
        # Every other round the other way round, so that a machine that gets slower or faster favours nobody.
        for name in list(ways)[:: -1 if number % 2 else 1]:
            cost, found = ways[name]()
            check_equal(found, report, name)
            costs[name].append(cost)
    return report, costs


def print_summary(report, costs):
    for what in ("files", "lines", "functions", "classes"):
        print(f"{report[what]:>9,} {what}")
    if report["longest"]:
        lines, file, line, name = report["longest"]
        print(f"longest function: {name}, {lines:,} lines, {file}:{line}")
    print(f"All {sum(map(len, costs.values()))} runs reported the same.")


def print_costs(costs):
    print(f"\n{'':<16}{'wall time: min':>16}{'median':>9}{'max':>9}{'CPU time':>10}{'runs':>6}")
    for name, runs in costs.items():
        wall = [cost.wall for cost in runs]
        cpu = statistics.median(cost.cpu for cost in runs)
        print(
            f"{name:<16}{min(wall):14.2f} s{statistics.median(wall):7.2f} s{max(wall):7.2f} s{cpu:8.2f} s{len(runs):>6}"
        )


def verdict(costs):
    """Say in a sentence how Shoal's times compare with the standard library's, as measured."""
    pairs = zip(costs[SHOAL], costs[STDLIB], strict=True)
    ratio = statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)
    return f"Shoal took {ratio:.3f} of the wall time of multiprocessing (median of {len(costs[SHOAL])} rounds)."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=sysconfig.get_path("stdlib"), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--cpp", type=Path, help="the C++ sibling, examples/source_census.cpp")
    options = parser.parse_args()
    folder = str(Path(options.folder).resolve())
    if options.rounds < 1:
        parser.error(f"--rounds must be 1 or more, not {options.rounds}")

    print(f"== Demo: counting what is in the Python files of {folder}", flush=True)
    try:
        report, costs = run_all(folder, options.rounds, options.cpp and options.cpp.resolve())
    except DisagreementError as difference:
        sys.exit(f"demo: FAILED. {difference}")
    except subprocess.CalledProcessError as failure:
        sys.exit(f"demo: FAILED. {' '.join(map(str, failure.cmd))} ended with {failure.returncode}")
    except subprocess.TimeoutExpired as failure:
        sys.exit(f"demo: FAILED. {' '.join(map(str, failure.cmd))} did not end within {LIMIT} s")

    print_summary(report, costs)
    print_costs(costs)
    print(f"\n{verdict(costs)}")
    if CPP in costs:
        print(f"The {CPP} counts files, lines and words of the same files; it does not parse them.")


if __name__ == "__main__":
    main()

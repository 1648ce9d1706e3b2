"""Run the benchmarks: print a table and write results.json. See docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from cases import all_cases
from measuring import Comparison, Standing, Unit, measure

FOLDER = Path(__file__).resolve().parent

COLUMNS = "{:<37} {:<33} {:>15} {:>15} {:>8}  {:<17} {}"


def value_of(line_start: str, path: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(line_start):
            return line.partition(":")[2].strip()
    return "unknown"


def compiler(cpp_folder: Path) -> str:
    """What the C++ programs were made with, as they say themselves."""
    try:
        made_with = subprocess.run([cpp_folder / "queue_64b", "made_with"], capture_output=True, text=True, timeout=10)
    except OSError:
        return "C++ programs not built"
    return made_with.stdout.strip()


def machine(cpp_folder: Path) -> str:
    usable = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    lines = [
        f"processor  {value_of('model name', '/proc/cpuinfo')}, {usable} usable",
        f"kernel     {platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        f"python     {platform.python_implementation()} {platform.python_version()}, {platform.python_compiler()}",
        f"c++        {compiler(cpp_folder)}",
        f"load       {load:.1f} before the first run" + (" - MACHINE BUSY, expect noise" if load > usable / 2 else ""),
    ]
    return "\n".join(lines)


def readable(value: float, unit: Unit) -> str:
    if unit.name.endswith("/s"):
        if value >= 1e6:
            return f"{value / 1e6:.2f} M{unit.name}"
        if value >= 1e4:
            return f"{value / 1e3:.1f} k{unit.name}"
    return f"{value:.2f} {unit.name}"


def verdict(result: Comparison | Standing) -> str:
    if result.target is None:
        return ""
    at_most = isinstance(result, Standing) and not result.case.unit.more_is_better
    return f"{'<=' if at_most else '>='} {result.target:.3g}: {'MISSED' if result.missed else 'met'}"


def table_row(result: Comparison | Standing) -> str:
    unit = result.case.unit
    if isinstance(result, Standing):
        own, peer = result.values, "alone"
        numbers = ["", "", f"{min(own.each):.3g} to {max(own.each):.3g}"]
    else:
        own, peer = result.subject_values, result.peer.name
        ratios = result.ratios
        numbers = [
            readable(result.peer_values.median, unit),
            f"{result.ratio:.2f}x",
            f"{min(ratios):.2f} to {max(ratios):.2f}",
        ]
    return COLUMNS.format(result.case.name, peer, readable(own.median, unit), *numbers, verdict(result)).rstrip()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="PREFIX", help="only the cases whose names begin so")
    parser.add_argument("--runs", type=positive, default=os.environ.get("RUNS") or 7, help="of each contestant (RUNS)")
    parser.add_argument("--cpp", type=Path, default=FOLDER.parent / "build/release/bench", help="C++ programs' folder")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    arguments = parser.parse_args()

    every_case = all_cases(arguments.cpp)
    cases = [case for case in every_case if case.name.startswith(arguments.only)]
    if arguments.list or not cases:
        if not cases:
            print(f"No case begins with {arguments.only!r}. There are:", file=sys.stderr)
        print("\n".join(case.name for case in (cases or every_case)))
        return 0 if cases else 2

    print(machine(arguments.cpp), end="\n\n")
    print(COLUMNS.format("case", "peer", "shoal", "peer", "ratio", "range of rounds", "target"), flush=True)
    results: list[Comparison | Standing] = []
    skipped: list[str] = []
    failed: list[str] = []
    for case in cases:
        outcome = measure(case, arguments.runs)
        for result in outcome.results:
            print(table_row(result), flush=True)
        results += outcome.results
        skipped += outcome.skipped
        failed += outcome.failed

    path = FOLDER / "results.json"
    path.write_text(json.dumps([result.as_json() for result in results], indent=2) + "\n")

    print(f"\nMedians of {arguments.runs} runs each, made alternately; ratio above 1: Shoal is better.")
    print(f"Written to {path}.")
    for reason in skipped:
        print(f"skipped: {reason}")
    for reason in failed:
        print(f"FAILED: {reason}")
    with_target = [result for result in results if result.target is not None]
    missed = [result.case.name for result in with_target if result.missed]
    if with_target:
        print(f"{len(with_target) - len(missed)} of {len(with_target)} targets met.", end="")
        print(f" Missed: {', '.join(missed)}" if missed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

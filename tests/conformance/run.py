"""Run CPython's own tests of multiprocessing and executors under `python -m shoal`, and compare with the page.

    run.py [--all] --python 3.11=PATH [--python ...] --results FOLDER

PATH is a Python that has shoal installed; its tests are those of its own standard library, unmodified. The page,
docs/conformance.md, names each test that fails, with the reason. It is an error if another one fails, and also if one
of those does not. Without --all, start methods other than fork get only the tests that are about queues, processes,
pools and executors. FOLDER gets a report and a log for each process that ran tests, and junit.xml.

As with CPython's own runner, a test that fails gets a second chance, alone: many of them depend on the time that
things take, which a busy machine stretches.
"""

import argparse
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "conformance.md"
SUITE = HERE / "suite.py"

TESTS = "_test_multiprocessing"
TESTS_OF_MAIN = "test_multiprocessing_main_handling"
TESTS_OF_EXECUTORS = "test_concurrent_futures"
# The same with the executor of shoal.futures, but for those that look inside, and those that expect what is different.
TESTS_OF_OWN_EXECUTOR = "test_concurrent_futures=shoal"
OTHERWISE = r"""^(?!.*FailingInitializer|.*\.test_(
    killed_child | max_tasks_per_child | traceback | python_finalization_error | del_shutdown | shutdown_no_wait |
    processes_terminate | cancel_futures | error_at_task_unpickle | error_during_result_pickle_on_worker |
    error_during_result_unpickle_in_result_handler | exit_during_func_exec_on_worker |
    exit_during_result_pickle_on_worker | exit_during_result_unpickle_in_result_handler | shutdown_deadlock_pickle |
    idle_process_reuse_.* | gh105829_.*
)$)"""
OTHERWISE = re.sub(r"\s", "", OTHERWISE)

# What is in the names of the tests, in four parts as CPython itself divides them.
PARTS = {
    "processes": (TESTS, "^WithProcesses"),
    "manager": (TESTS, "^WithManager"),
    "threads": (TESTS, "^WithThreads"),
    "others": (TESTS, "^(?!With)"),
    "main": (TESTS_OF_MAIN, ""),
    "executor": (TESTS_OF_EXECUTORS, ""),
    "own_executor": (TESTS_OF_OWN_EXECUTOR, OTHERWISE),
}
# Those of queues, and others that pass queues to processes; those of processes themselves; and those of pools.
QUICK_PARTS = {
    "queues": (TESTS, "Queue|TestStartMethod|TestSyncManagerTypes"),
    "starts": (
        TESTS,
        r"^WithProcessesTest(Process|SubclassingProcess|AtExit)\."
        r"|^Test(Wait|Flags|CloseFds|StdinBadfiledescriptor|NoForkBomb)\.",
    ),
    "pools": (TESTS, "^(WithProcesses)?TestPool"),
    "main": (TESTS_OF_MAIN, ""),
    "executor": (TESTS_OF_EXECUTORS, ""),
    "own_executor": (TESTS_OF_OWN_EXECUTOR, OTHERWISE),
}

# More than there are cores, because the tests mostly wait.
AT_A_TIME = 4

# If more fail, it is not for being late.
MOST_SECOND_CHANCES = 10

# A part takes half a minute, and a test in it that hangs ends its process (see suite.py).
PART_LIMIT = 10 * 60.0

# In place of a test's name, for what is wrong with all of a part (see suite.py too).
TOGETHER = "(all together)"

GOOD_END = "its process ended with 0"

# What XML cannot hold.
NOT_XML = re.compile(r"[^\t\n -\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True)
class Part:
    """Some of the tests with one interpreter and one start method: what one process runs."""

    version: str
    python: str
    method: str
    name: str
    module: str
    pattern: str

    def __str__(self):
        return f"{self.version}-{self.method}-{self.name}"


@dataclass(frozen=True)
class KnownFailure:
    """A row of the table in docs/conformance.md."""

    test: str
    versions: str
    methods: str
    reason: str

    @property
    def module(self):
        return TESTS_OF_EXECUTORS if self.test.startswith("ProcessPool") else TESTS

    def is_among(self, part):
        def listed(word, words):
            return words == "all" or word in words.split(", ")

        in_part = re.search(part.pattern, self.test) is not None and part.module == self.module
        return in_part and listed(part.version, self.versions) and listed(part.method, self.methods)


@dataclass(frozen=True)
class Verdict:
    """What is thought of how a test ended: whether it is as it should be, and why or why not."""

    part: Part
    test: str
    good: bool
    # passed, skipped, failed; lost: it ended its process, or did not end; missing: there is no such test
    outcome: str
    reason: str

    @property
    def can_run_again(self):
        """Whether being late may be the reason: not for a crash or a hang, nor for what is wrong with the run."""
        return self.outcome == "failed" and re.fullmatch(r"\w+\.\w+", self.test) is not None


def known_failures():
    """Read the table: the lines that begin with a test's name as code."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [KnownFailure(*(cell.strip(" `") for cell in row.strip("|").split("|"))) for row in rows]


def has_tests(python, module):
    """Whether these tests are installed with that interpreter; some distributions leave them out."""
    name = f"test.{module}"
    if module == TESTS_OF_OWN_EXECUTOR:
        # A package since Python 3.12. Before, the tests took the objects of threads that have ended for threads, which
        # a pool that waits for the garbage collector still has.
        name = f"test.{TESTS_OF_EXECUTORS}.util"
    probe = f"import sys; from importlib.util import find_spec; sys.exit(not find_spec({name!r}))"
    return subprocess.run([python, "-c", probe], timeout=60, check=False, stderr=subprocess.DEVNULL).returncode == 0


def run_process(part, report, log):
    """Start the tests of a part that are not in the report yet. Return how that ended, in words."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        process = subprocess.Popen(
            [part.python, "-m", "shoal", SUITE, part.module, part.method, part.pattern, report],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**environment, "TMPDIR": folder},
            start_new_session=True,
        )
        descriptor = os.pidfd_open(process.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            ended = bool(poll.poll(PART_LIMIT * 1000))
        finally:
            # What a test that failed may have left; while the first process is not waited for, the group's id is its.
            os.killpg(process.pid, signal.SIGKILL)
            os.close(descriptor)
            process.wait()
    return f"its process ended with {process.returncode}" if ended else f"it did not end in {PART_LIMIT:.0f} seconds"


def read_report(report):
    """Return the names of all tests, and for each that began its outcome, which is None if it did not end."""
    records = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    if not records:
        return [], {}
    assert records[0]["multiprocessing"] == "shoal", "the tests did not run under the alias"
    return records[0]["tests"], {record["test"]: (record["outcome"], record["detail"]) for record in records[1:]}


def run_part(part, results):
    """Run the tests of a part, going on after one that ends the process. Return {test: (outcome, detail)}."""
    report = results / f"{part}.jsonl"
    report.unlink(missing_ok=True)
    lost = {}
    with open(results / f"{part}.log", "wb") as log:
        while True:
            how = run_process(part, report, log)
            tests, outcomes = read_report(report)
            cut_off = {test for test, (outcome, _) in outcomes.items() if outcome is None} - lost.keys()
            lost.update(dict.fromkeys(cut_off, ("lost", f"{how}; see {log.name}")))
            if not cut_off:
                break
    outcomes.update(lost)
    for test in tests:
        outcomes.setdefault(test, ("lost", f"did not run: {how}; see {log.name}"))
    if not tests or how != GOOD_END:
        outcomes[TOGETHER] = ("lost", f"{how}; see {log.name}")
    return outcomes


def judge(part, outcomes, known):
    """Yield a verdict for each test, and if all is well otherwise for each that is known but was not found."""
    reasons = {failure.test: failure.reason for failure in known if failure.is_among(part)}
    for test, (outcome, detail) in outcomes.items():
        if test not in reasons:
            yield Verdict(part, test, outcome in ("passed", "skipped"), outcome, detail)
        elif outcome == "failed":
            yield Verdict(part, test, True, outcome, reasons[test])
        else:
            yield Verdict(part, test, False, outcome, f"{outcome}, but {PAGE.name} says that it fails; {detail}")
    for test in reasons.keys() - outcomes.keys() if TOGETHER not in outcomes else ():
        yield Verdict(part, test, False, "missing", f"{PAGE.name} names it, but there is no such test")


def parts_to_run(pythons, everything):
    """List them, for each (version, path of the interpreter)."""
    parts = []
    for version, python in pythons:
        modules = {module for module, _ in PARTS.values()}
        installed = {module for module in modules if has_tests(python, module)}
        missing = modules - installed - {TESTS_OF_OWN_EXECUTOR}
        if missing:
            print(f"CPython {version} is installed without {', '.join(sorted(missing))}: not run", flush=True)
        for method in ("fork", "spawn", "forkserver"):
            wanted = PARTS if everything or method == "fork" else QUICK_PARTS
            parts += [
                Part(version, python, method, name, module, pattern)
                for name, (module, pattern) in wanted.items()
                if module in installed
            ]
    return parts


def run_parts(parts, at_a_time, results):
    """Run them, print how each went, and return the verdicts."""
    known = known_failures()
    verdicts = []
    with ThreadPoolExecutor(at_a_time) as runners:
        for part, results_of_part in zip(parts, runners.map(lambda part: run_part(part, results), parts), strict=True):
            found = list(judge(part, results_of_part, known))
            verdicts += found
            outcomes = (
                "excepted" if verdict.good and verdict.outcome == "failed" else verdict.outcome for verdict in found
            )
            counts = sorted(Counter(outcomes).items())
            print(f"   {part}: {', '.join(f'{count} {outcome}' for outcome, count in counts)}", flush=True)
            for verdict in found:
                if not verdict.good:
                    print(textwrap.indent(f"{verdict.test}: {verdict.reason}", "      "), flush=True)
    return verdicts


def run_again(verdicts, results):
    """Give those that failed their second chance. Return the verdicts with the new instead of the old."""
    failed = [verdict for verdict in verdicts if not verdict.good and verdict.can_run_again]
    if len(failed) > MOST_SECOND_CHANCES:
        return verdicts
    parts = {}
    for verdict in failed:
        parts.setdefault((verdict.part.version, verdict.part.method), []).append(verdict)
    again = []
    for together in parts.values():
        names = "|".join(re.escape(verdict.test) for verdict in together)
        again.append(replace(together[0].part, name="again", pattern=f"^({names})$"))
    if again:
        print("   Again, alone:", flush=True)
    return [verdict for verdict in verdicts if verdict not in failed] + run_parts(again, 1, results)


def write_junit(path, verdicts):
    """Write a report of the tests, without those that skipped themselves; known failures count as skipped."""
    suite = ElementTree.Element("testsuite", name="conformance")
    counts = Counter(tests=0, failures=0, skipped=0)
    for verdict in verdicts:
        if verdict.good and verdict.outcome == "skipped":
            continue
        counts["tests"] += 1
        case = ElementTree.SubElement(suite, "testcase", classname=str(verdict.part), name=verdict.test)
        if not verdict.good:
            counts["failures"] += 1
            ElementTree.SubElement(case, "failure").text = NOT_XML.sub("?", verdict.reason)
        elif verdict.outcome == "failed":
            counts["skipped"] += 1
            ElementTree.SubElement(case, "skipped", message=verdict.reason)
    suite.attrib.update({kind: str(count) for kind, count in counts.items()})
    ElementTree.ElementTree(suite).write(path, encoding="unicode", xml_declaration=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="all tests with all start methods")
    parser.add_argument("--python", action="append", required=True, metavar="VERSION=PATH")
    parser.add_argument("--results", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()

    options.results.mkdir(parents=True, exist_ok=True)
    parts = parts_to_run([python.split("=", 1) for python in options.python], options.all)
    verdicts = run_again(run_parts(parts, AT_A_TIME, options.results), options.results)
    write_junit(options.results / "junit.xml", verdicts)
    return int(not all(verdict.good for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())

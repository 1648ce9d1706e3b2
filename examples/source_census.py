"""Count what is in a tree of Python source files, in several processes.

    python examples/source_census.py [FOLDER]             with the standard library's multiprocessing
    python -m shoal examples/source_census.py [FOLDER]    the same program on Shoal

An ordinary program: it imports only multiprocessing and the rest of the standard library, and knows nothing of Shoal.
FOLDER is the running interpreter's own standard library unless given. There are two passes over the files:

1. Worker processes take file names from one queue and put what they found in each file into another.
2. Knowing from the first pass which functions there are, the workers of a pool count how often each is called.
"""

import argparse
import ast
import contextlib
import json
import multiprocessing
import os
import queue
import sys
import sysconfig
import warnings
from collections import Counter
from pathlib import Path

# Files that others have installed beside the standard library are not part of it.
SKIPPED = {"__pycache__", "site-packages", "dist-packages"}

TOTALS = ("lines", "functions", "classes", "imports")


def find_sources(folder):
    """Return the Python files below a folder, as sorted names relative to it."""
    found = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED]
        found += [os.path.relpath(os.path.join(path, name), folder) for name in files if name.endswith(".py")]
    return sorted(found)


def parse(path):
    """Return a file's bytes and its syntax tree, which is None if this interpreter cannot parse it."""
    source = Path(path).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's opinions on the files
        try:
            return source, ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return source, None


# --- First pass: what is in each file -------------------------------------------------------------------------------


def examine(folder, name):
    """Return what is in one file, as a dict."""
    source, tree = parse(os.path.join(folder, name))
    counts = dict.fromkeys(TOTALS, 0)
    counts["lines"] = source.count(b"\n") + (source[-1:] not in (b"", b"\n"))
    imported, defined, longest = set(), [], None
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            counts["functions"] += 1
            defined.append(node.name)
            candidate = (node.end_lineno - node.lineno + 1, name, node.lineno, node.name)
            longest = longer(longest, candidate)
        elif isinstance(node, ast.ClassDef):
            counts["classes"] += 1
        elif isinstance(node, ast.Import):
            counts["imports"] += 1
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            counts["imports"] += 1
            if node.level == 0:
                imported.add(node.module)
    return {
        "name": name,
        "parsed": tree is not None,
        "counts": counts,
        "imported": sorted(imported),
        "defined": defined,
        "longest": longest,
    }


def longer(one, other):
    """Return the longer of two functions (lines, file, line, name); of equal ones the first by file and line."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda function: (-function[0], *function[1:]))


def examine_from_queue(folder, names, findings):
    """A worker: examine the files whose names come out of a queue, until None comes."""
    while (name := names.get()) is not None:
        findings.put(examine(folder, name))


def examine_all(folder, sources, workers):
    """Yield what is in each file, in any order, from as many worker processes as wanted."""
    names, findings = multiprocessing.Queue(), multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=examine_from_queue, args=(folder, names, findings)) for _ in range(workers)
    ]
    for process in processes:
        process.start()
    for name in sources:
        names.put(name)
    for _ in processes:
        names.put(None)
    for _ in sources:
        yield get_from(findings, processes)
    for process in processes:
        process.join()


def get_from(findings, processes):
    """Take what one of the workers put there; a queue does not say that a worker has died, so look now and then."""
    while True:
        with contextlib.suppress(queue.Empty):
            return findings.get(timeout=5)
        for process in processes:
            if process.exitcode not in (None, 0):
                raise SystemExit(f"{process.name} ended with {process.exitcode}, its file was not counted")


# --- Second pass: who is called -------------------------------------------------------------------------------------

wanted = frozenset()  # in a worker of the pool: the functions whose calls are counted
root = None


def prepare_worker(folder, functions):
    global root, wanted
    root, wanted = folder, functions


def count_calls(name):
    """Return how often each of the wanted functions is called in a file, as far as its name tells."""
    _, tree = parse(os.path.join(root, name))
    calls = Counter()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if called in wanted:
                calls[called] += 1
    return dict(calls)


def count_all_calls(folder, sources, functions, workers):
    """Yield the calls in each file, in any order, from the workers of a pool."""
    with multiprocessing.Pool(workers, prepare_worker, (folder, functions)) as pool:
        yield from pool.imap_unordered(count_calls, sources, chunksize=4)


# --- The report -----------------------------------------------------------------------------------------------------


def census(folder, workers):
    """Return the report as a dict. It is the same for any number of workers; 0: all is done in this process."""
    sources = find_sources(folder)
    findings = examine_all(folder, sources, workers) if workers else (examine(folder, name) for name in sources)

    totals, modules, functions, longest, unparsable = Counter(), Counter(), Counter(), None, []
    for found in with_progress("examined", findings, len(sources)):
        totals.update(found["counts"])
        modules.update(found["imported"])
        functions.update(found["defined"])
        longest = longer(longest, found["longest"])
        if not found["parsed"]:
            unparsable.append(found["name"])

    once = frozenset(name for name, times in functions.items() if times == 1)
    if workers:
        calls_of_files = count_all_calls(folder, sources, once, workers)
    else:
        prepare_worker(folder, once)
        calls_of_files = map(count_calls, sources)
    calls = Counter()
    for found in with_progress("cross-referenced", calls_of_files, len(sources)):
        calls.update(found)

    return {
        "files": len(sources),
        "unparsable": sorted(unparsable),
        **{what: totals[what] for what in TOTALS},
        "longest": longest,
        "most imported": top(modules),
        "most called": top(calls),
    }


def top(counter, number=5):
    """Return the most common entries; of equal ones the first by name, so that no order of arrival shows."""
    return sorted(counter.items(), key=lambda entry: (-entry[1], entry[0]))[:number]


def with_progress(what, found, total):
    """Pass an iterable on, and tell whoever sits at a terminal how far it is."""
    for done, each in enumerate(found, 1):
        if sys.stderr.isatty() and (done % 50 == 0 or done == total):
            print(f"\r{what} {done} of {total} files", end="\n" if done == total else "", file=sys.stderr, flush=True)
        yield each


def print_report(report):
    for what in ("files", *TOTALS):
        print(f"{report[what]:>9,} {what}")
    print(f"{len(report['unparsable']):>9,} files that this Python cannot parse")
    if report["longest"]:
        lines, file, line, name = report["longest"]
        print(f"\nlongest function: {name}, {lines:,} lines, {file}:{line}")
    for what in ("most imported", "most called"):
        print(f"{what}: {', '.join(f'{name} ({times:,})' for name, times in report[what])}")


def main():
    parser = argparse.ArgumentParser(description="Count what is in a tree of Python source files.")
    parser.add_argument("folder", nargs="?", default=sysconfig.get_path("stdlib"), help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="default: %(default)s")
    parser.add_argument("--serial", action="store_true", help="do everything in one process")
    parser.add_argument("--json", metavar="FILE", help="write the report there instead of printing it")
    options = parser.parse_args()
    if not os.path.isdir(options.folder):
        parser.error(f"{options.folder} is not a folder")
    if options.workers < 1:
        parser.error(f"--workers must be 1 or more, not {options.workers}; --serial does without")

    report = census(options.folder, 0 if options.serial else options.workers)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    else:
        print_report(report)


if __name__ == "__main__":
    main()

"""CPython's own tests of multiprocessing, as a program for `python -m shoal`.

    python -m shoal suite.py MODULE START_METHOD PATTERN REPORT

Runs those tests of MODULE, in this interpreter's package `test`, in whose name, which is Class.method, the regular
expression PATTERN is found. It is _test_multiprocessing; or test_multiprocessing_main_handling: then the programs that
the tests run are run by `python -m shoal` too; or test_concurrent_futures, of which the tests of processes are run.
With `=shoal` after that name, their executor is that of shoal.futures.

Writes to REPORT, a line of JSON each: the names of the tests, then for each test its name as it begins, and how it
ended. Tests that REPORT tells of already are not run: after one that took the whole process with it, the same command
goes on with the next.
"""

import faulthandler
import importlib
import json
import multiprocessing
import os
import pkgutil
import re
import sys
import traceback
import unittest

from test import support

# Children that start with a fresh interpreter run this file too, with the same arguments, and find the classes here.
_, MODULE, START_METHOD, PATTERN, REPORT = sys.argv
MODULE, _, EXECUTOR = MODULE.partition("=")
if EXECUTOR:
    import concurrent.futures

    import shoal.futures

    concurrent.futures.ProcessPoolExecutor = shoal.futures.ProcessPoolExecutor
tests = importlib.import_module(f"test.{MODULE}")
if MODULE == "_test_multiprocessing":
    tests.install_tests_in_module_dict(globals(), START_METHOD)
elif MODULE == "test_concurrent_futures":
    # One file up to Python 3.11, a package since.
    names = [found.name for found in pkgutil.iter_modules(getattr(tests, "__path__", ()))]
    for module in [tests, *(importlib.import_module(f"{tests.__name__}.{name}") for name in names)]:
        globals().update(
            (name, each) for name, each in vars(module).items() if getattr(each, "ctx", "") == START_METHOD
        )
    # The thread that hands out what travels in queues lives to the end; no test is to take it for one that it left.
    multiprocessing.SimpleQueue().put(multiprocessing.Lock())
else:
    globals().update(
        (name, each) for name, each in vars(tests).items() if getattr(each, "start_method", "") == START_METHOD
    )
    # "python" is a program that takes python's arguments and puts `-m shoal` before the first that is no option.
    os.environ["SHOAL_PYTHON"], sys.executable = (
        sys.executable,
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "python-with-shoal"),
    )

# What takes longer hangs: the slowest test takes five seconds.
TEST_LIMIT = 120.0


class Recorder(unittest.TestResult):
    """Writes to the report how each test went, at once: the next test may end the process."""

    def __init__(self, report):
        super().__init__()
        self._report = report

    def record(self, test, outcome=None, detail=""):
        print(json.dumps({"test": test, "outcome": outcome, "detail": detail}), file=self._report, flush=True)

    def startTest(self, test):  # noqa: N802
        super().startTest(test)
        self._outcome, self._detail = "passed", ""
        self.record(name_of(test))
        print(f"== {name_of(test)}", file=sys.stderr, flush=True)
        faulthandler.dump_traceback_later(TEST_LIMIT, exit=True)

    def stopTest(self, test):  # noqa: N802
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()
        self.record(name_of(test), self._outcome, self._detail)

    def addFailure(self, test, error):  # noqa: N802
        super().addFailure(test, error)
        self._fail(test, error)

    def addError(self, test, error):  # noqa: N802
        super().addError(test, error)
        self._fail(test, error)

    def addSubTest(self, test, subtest, error):  # noqa: N802
        super().addSubTest(test, subtest, error)
        if error:
            self._fail(test, error)

    def addUnexpectedSuccess(self, test):  # noqa: N802
        super().addUnexpectedSuccess(test)
        self._outcome, self._detail = "failed", "passed, which it says it does not"

    def addSkip(self, test, reason):  # noqa: N802
        super().addSkip(test, reason)
        if not isinstance(test, unittest.TestCase):
            self.record(test.id(), "skipped", reason)
        elif self._outcome != "failed":  # by another of its subtests
            self._outcome, self._detail = "skipped", reason

    def _fail(self, test, error):
        detail = "".join(traceback.format_exception(*error))
        if isinstance(test, unittest.TestCase):
            self._outcome, self._detail = "failed", detail
        else:  # the set-up of a class or of the whole
            self.record(test.id(), "failed", detail)


def name_of(test):
    return ".".join(test.id().rsplit(".", 2)[-2:])


def main():
    classes = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    selected = [test for tests in classes for test in tests if re.search(PATTERN, name_of(test))]
    names = [name_of(test) for test in selected]

    with open(REPORT, "a+") as report:
        report.seek(0)
        done = {record.get("test") for record in map(json.loads, report)}
        if not done:
            package = multiprocessing.__name__
            print(json.dumps({"tests": names, "multiprocessing": package}), file=report, flush=True)
        recorder = Recorder(report)
        unittest.TestSuite(test for test in selected if name_of(test) not in done).run(recorder)
        if support.environment_altered:
            recorder.record("(all together)", "failed", "a test left processes or threads behind; the log names them")


if __name__ == "__main__":
    main()

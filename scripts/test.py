"""Build everything and run all tests, the Python ones against the installed wheel in every CPython found.

Ends with one line that says what passed, or what did not, and how long it took.

    scripts/test.py [--only PART]... [--python VERSION]... [--all-conformance]

The parts are cpp, package, python, gui, conformance and install; each needs what those before it built. Only for work
on one of them. With --all-conformance, CPython's own tests run with every start method, not only the part that is
quick.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import interpreters

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv" / "bin"
WHEELS = ROOT / ".venv" / "wheels"
BUILD = ROOT / "build"
DIST = BUILD / "dist"
ENVIRONMENTS = BUILD / "environments"
RESULTS = BUILD / "test-results"

# What Debian's packages of GTK, Qt and Tk have bindings for.
DEBIAN_PYTHON = Path("/usr/bin/python3")

# Tests mostly wait.
AT_A_TIME = 2

# A step that takes longer hangs, in a way that the limits of single tests did not catch.
STEP_LIMIT = 15 * 60


class Session:
    """What was tested, with what outcome."""

    def __init__(self):
        self.began = time.monotonic()
        self.passed = []  # such as "C++ 85"
        self.failed = []  # such as "Python 3.12: 2 of 120 tests"

    @contextmanager
    def step(self, what):
        """Print what is done and for how long. If a command in it fails, so has `what`, and the next step goes on."""
        print(f"== {what}", flush=True)
        began = time.monotonic()
        try:
            yield
        except subprocess.CalledProcessError as failure:
            self.failed.append(what)
            print(f"   failed: {failure.cmd[0]} ended with {failure.returncode}", flush=True)
        except subprocess.TimeoutExpired as failure:
            self.failed.append(what)
            print(f"   failed: {failure.cmd[0]} did not end within {STEP_LIMIT // 60} minutes", flush=True)
        print(f"   {time.monotonic() - began:.1f} s", flush=True)

    def tests(self, what, report, *command, **options):
        """Run a test runner that writes a JUnit report. Return (passed, skipped), or None if any failed."""
        path = RESULTS / f"{report}.xml"
        path.unlink(missing_ok=True)
        return self._tests(what, path, lambda: run(*command, **options))

    def tests_of_several(self, runs):
        """Run several test runners, some at a time: (what, report, command, cwd) of each. Yield the same for each.

        What one prints comes when it has ended, and is kept beside its report.
        """
        paths = [RESULTS / f"{report}.xml" for _, report, _, _ in runs]
        for path in paths:
            path.unlink(missing_ok=True)
        with ThreadPoolExecutor(AT_A_TIME) as runners:
            running = [
                runners.submit(run_logged, path.with_suffix(".log"), *command, cwd=cwd)
                for path, (_, _, command, cwd) in zip(paths, runs, strict=True)
            ]
            for (what, _, _, _), path, ends in zip(runs, paths, running, strict=True):
                yield self._tests(
                    what, path, lambda path=path, ends=ends: show_when_ended(path.with_suffix(".log"), ends)
                )

    def _tests(self, what, path, act):
        failures_before = len(self.failed)
        with self.step(what):
            act()
        if not path.exists():
            return None
        counts = dict.fromkeys(("tests", "failures", "errors", "skipped", "disabled"), 0)
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):
            for kind in counts:
                counts[kind] += int(suite.get(kind) or 0)
        failed = counts["failures"] + counts["errors"]
        if len(self.failed) > failures_before:
            self.failed[-1] += f" ({failed} of {counts['tests']} tests)"
            return None
        skipped = counts["skipped"] + counts["disabled"]
        return counts["tests"] - skipped, skipped

    def close(self):
        """Print the line that says how it went, and return the exit code."""
        minutes, seconds = divmod(round(time.monotonic() - self.began), 60)
        if self.failed:
            print(f"shoal: FAILED after {minutes} min {seconds} s: {'; '.join(self.failed)}")
            return 1
        print(f"shoal: all tests passed: {', '.join(self.passed)}, in {minutes} min {seconds} s")
        return 0


def in_words(passed, skipped):
    return f"{passed} ({skipped} skipped)" if skipped else str(passed)


def run(*command, cwd=ROOT, output=None):
    """Run a command, without what the caller's environment says about Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    subprocess.run(words, check=True, cwd=cwd, env=environment, timeout=STEP_LIMIT, stdout=output, stderr=output)


def run_logged(log, *command, cwd):
    with open(log, "wb") as output:
        run(*command, cwd=cwd, output=output)


def show_when_ended(log, running):
    wait([running])
    print(log.read_text(errors="replace"), end="", flush=True)
    running.result()


def pip(interpreter, *arguments):
    """Run pip for an interpreter, with the packages that the set-up has fetched and no others."""
    command, *rest = arguments
    own = ("-q", "--disable-pip-version-check", "--no-index", "--find-links", WHEELS)
    run(TOOLS / "python", "-m", "pip", "--python", interpreter, command, *own, *rest)


def test_cpp(session):
    with session.step("C++: configure build/dev"):
        strict = f"-DCMAKE_COMPILE_WARNING_AS_ERROR={'ON' if os.environ.get('CI') else 'OFF'}"
        run("cmake", "--preset", "dev", "--log-level=WARNING", strict)
    with session.step("C++: build build/dev"):
        run("cmake", "--build", "--preset", "dev", "--parallel", os.cpu_count())
    if session.failed:
        return
    counts = session.tests("C++: tests", "cpp", "ctest", "--preset", "dev", "--output-junit", RESULTS / "cpp.xml")
    if counts:
        session.passed.append(f"C++ {in_words(*counts)}")


def build_packages(session, found):
    shutil.rmtree(DIST, ignore_errors=True)
    with session.step("Package: source distribution"):
        run(TOOLS / "python", "-m", "build", "--sdist", "--no-isolation", "--outdir", DIST, ROOT)
    for version, interpreter in found.items():
        # Made from the source distribution, which is thereby shown to be complete.
        with session.step(f"Package: wheel for CPython {version}, from the source distribution"):
            pip(interpreter, "wheel", "--no-deps", "--wheel-dir", DIST, *DIST.glob("shoal-*.tar.gz"))
        wheels = list(DIST.glob(f"shoal-*-cp{version.replace('.', '')}-*.whl"))
        environment = ENVIRONMENTS / version
        shutil.rmtree(environment, ignore_errors=True)
        if not wheels:
            continue  # said when it was built
        with session.step(f"Package: clean environment with the wheel, CPython {version}"):
            run(interpreter, "-m", "venv", "--without-pip", environment)
            pip(environment / "bin/python", "install", *wheels, "-r", ROOT / "requirements/test.txt")


def environments(found):
    """Yield version and folder of each environment that the wheel could be installed into."""
    for version in found:
        if list((ENVIRONMENTS / version).glob("lib/python*/site-packages/shoal")):
            yield version, ENVIRONMENTS / version


def test_python(session, found):
    runs = {}
    for version, environment in environments(found):
        # Run from the environment, by a script in it, so that nothing in the tree can be imported by accident.
        command = (
            environment / "bin/pytest",
            *("-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", "-q"),
            f"--junit-xml={RESULTS / f'python-{version}.xml'}",
            ROOT / "tests/python",
        )
        runs[version] = (f"Python {version}: tests", f"python-{version}", command, environment)
    outcomes = {}
    for version, counts in zip(runs, session.tests_of_several(list(runs.values())), strict=True):
        if counts:
            outcomes.setdefault(counts, []).append(version)
    for counts, versions in outcomes.items():
        session.passed.append(f"Python {in_words(*counts)} in each of CPython {' '.join(versions)}")


def test_gui(session, chosen):
    version = subprocess.check_output(
        [DEBIAN_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    if version not in chosen:
        print(f"== User interfaces skipped: they need CPython {version}, which was not chosen", flush=True)
        return
    environment = ENVIRONMENTS / "gui"
    shutil.rmtree(environment, ignore_errors=True)
    failures_before = len(session.failed)
    with session.step(f"User interfaces: environment of {DEBIAN_PYTHON} with the wheel"):
        run(DEBIAN_PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", environment)
        # Without a wheel this fails, and says so.
        wheel = DIST / f"shoal-*-cp{version.replace('.', '')}-*.whl"
        wheels = list(DIST.glob(wheel.name)) or [wheel]
        pip(environment / "bin/python", "install", *wheels, "-r", ROOT / "requirements/gui.txt")
    if len(session.failed) > failures_before:
        return
    counts = session.tests(
        "User interfaces: tests",
        "gui",
        environment / "bin/pytest",
        *("-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", "-q"),
        f"--junit-xml={RESULTS / 'gui.xml'}",
        ROOT / "tests/gui",
        cwd=environment,
    )
    if counts:
        session.passed.append(f"user interfaces {in_words(*counts)}")


def test_conformance(session, found, every_start_method):
    pythons = [f"--python={version}={environment / 'bin/python'}" for version, environment in environments(found)]
    if not pythons:
        return
    counts = session.tests(
        "Conformance: CPython's own tests of multiprocessing",
        "conformance/junit",
        *(TOOLS / "python", ROOT / "tests/conformance/run.py", *pythons, "--results", RESULTS / "conformance"),
        *(["--all"] if every_start_method else []),
    )
    if counts:
        session.passed.append(f"CPython's own {in_words(*counts)}")


def test_install(session):
    counts = session.tests(
        "Install: tests",
        "install",
        TOOLS / "pytest",
        *("-c", ROOT / "pyproject.toml", "-p", "no:cacheprovider", "-q", "--timeout=600"),
        f"--junit-xml={RESULTS / 'install.xml'}",
        *("--build-dir", BUILD / "dev", "--dist-dir", DIST, "--wheels", WHEELS),
        ROOT / "tests/install",
    )
    if counts:
        session.passed.append(f"install {in_words(*counts)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ["cpp", "package", "python", "gui", "conformance", "install"]
    parser.add_argument("--only", action="append", choices=parts)
    parser.add_argument("--python", action="append", choices=interpreters.SUPPORTED)
    parser.add_argument("--all-conformance", action="store_true")
    options = parser.parse_args()

    found = interpreters.find()
    session = Session()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for version in interpreters.SUPPORTED:
        if version not in found:
            print(f"== CPython {version} skipped: not found on the PATH or among pyenv's versions", flush=True)
    if options.python:
        found = {version: path for version, path in found.items() if version in options.python}

    parts = {
        "cpp": lambda: test_cpp(session),
        "package": lambda: build_packages(session, found),
        "python": lambda: test_python(session, found),
        "gui": lambda: test_gui(session, options.python or interpreters.SUPPORTED),
        "conformance": lambda: test_conformance(session, found, options.all_conformance),
        "install": lambda: test_install(session),
    }
    for name, part in parts.items():
        if not options.only or name in options.only:
            part()
    return session.close()


if __name__ == "__main__":
    sys.exit(main())

"""Find the interpreters that Shoal is built and tested for: one of each CPython from 3.10 to 3.13.

Looked for among pyenv's versions and on the PATH. Prints a line "3.11 /path/to/python" for each; with --base only the
path of the one to make .venv of. Runs with any Python 3, without packages.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")

# Prints minor version and executable, if it is one that extension modules can be built for.
PROBE = """
import os, sys, sysconfig
header = os.path.join(sysconfig.get_path("include"), "Python.h")
free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
if sys.implementation.name == "cpython" and os.path.exists(header) and not free_threaded:
    print("%d.%d" % sys.version_info[:2], sys.executable)
"""


def candidates():
    """Yield paths of programs that may be such an interpreter, the preferred ones first."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [path for path in root.glob("versions/*") if re.fullmatch(r"3\.\d+\.\d+", path.name)]
    for path in sorted(versions, key=lambda path: [int(part) for part in path.name.split(".")], reverse=True):
        yield path / "bin" / "python"
    # What pyenv puts on the PATH are scripts that choose among the versions seen above.
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != root / "shims"]
    for name in (*(f"python{version}" for version in SUPPORTED), "python3"):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found:
            yield Path(found)


def find():
    """Return a dict from version, such as "3.11", to the path of its interpreter."""
    found = {}
    for candidate in candidates():
        try:
            result = subprocess.run([candidate, "-I", "-c", PROBE], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            continue
        version, _, executable = result.stdout.strip().partition(" ")
        if version in SUPPORTED:
            found.setdefault(version, executable)
    return {version: found[version] for version in SUPPORTED if version in found}


def main():
    found = find()
    if not found:
        wanted = ", ".join(SUPPORTED)
        sys.exit(f"No CPython of {wanted} with its headers was found on the PATH or among pyenv's versions.")
    if "--base" in sys.argv:
        # Whoever chose a python3 gets it; else the newest.
        own = "{}.{}".format(*sys.version_info[:2])
        print(found.get(own, list(found.values())[-1]))
    else:
        for version, interpreter in found.items():
            print(version, interpreter)


if __name__ == "__main__":
    main()

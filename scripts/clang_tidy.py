"""Run clang-tidy over every C++ source of a build folder's compile_commands.json, as many at a time as there are CPUs.

A source that was clean is not looked at again while it, all that it includes, the command and the configuration are the
same.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = [(ROOT / folder / ".clang-tidy").read_bytes() for folder in (".", "tests", "examples/counter")]


def fingerprint(entry):
    """Hash all that a verdict depends on. The files come from the preprocessor, as make's dependencies do."""
    command = shlex.split(entry["command"])
    output = command.index("-o")
    query = [*command[:output], *command[output + 2 :], "-M", "-MT", "source"]
    listed = subprocess.run(query, cwd=entry["directory"], capture_output=True, text=True)
    if listed.returncode != 0:
        return None  # does not compile: clang-tidy will say why
    digest = hashlib.sha256(b"\0".join([*CONFIGURATION, entry["command"].encode()]))
    for name in sorted(shlex.split(listed.stdout.replace("\\\n", " "))[1:]):
        digest.update(name.encode())
        digest.update(Path(entry["directory"], name).read_bytes())
    return digest.hexdigest()


def check(entry, build, clean):
    """Return clang-tidy's complaints about one source, or an empty string."""
    before = fingerprint(entry)
    if before is not None and (clean / before).exists():
        return ""
    result = subprocess.run(
        ["clang-tidy", "-p", build, "--quiet", entry["file"]], cwd=ROOT, capture_output=True, text=True
    )
    if result.returncode != 0:
        return result.stdout + (result.stderr if not result.stdout else "")
    if before is not None:
        (clean / before).touch()
    return ""


def main():
    build = Path(sys.argv[1])
    clean = build / "clang-tidy-clean"
    clean.mkdir(exist_ok=True)
    entries = json.loads((build / "compile_commands.json").read_text())
    ours = [entry for entry in entries if Path(entry["file"]).is_relative_to(ROOT)]
    ours = [entry for entry in ours if not Path(entry["file"]).is_relative_to(ROOT / ".venv")]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for complaints in pool.map(lambda entry: check(entry, build, clean), ours):
            failed += bool(complaints)
            print(complaints, end="", flush=True)
    if failed:
        sys.exit(f"clang-tidy: complaints about {failed} of {len(ours)} files")


if __name__ == "__main__":
    main()

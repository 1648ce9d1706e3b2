"""Which processes end with their parent, and what a crash leaves."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import shoal
from process_support import has_ended

# Starts a process by method argv[1], a daemon if argv[2], from another thread than the main one if argv[3], and prints
# the ids of this process, and of the one that it started.
PARENT = """
import os, sys, threading, time, shoal

def stay(out):
    out.put(os.getpid())
    time.sleep(120)

def start():
    context = shoal.get_context(sys.argv[1])
    out = context.Queue()
    context.Process(target=stay, args=(out,), daemon=sys.argv[2] == "daemon").start()
    print(os.getpid(), out.get(timeout=60), flush=True)

if __name__ == "__main__":
    if sys.argv[3] == "thread":
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    else:
        start()
    time.sleep(120)
"""


@contextmanager
def running(path: Path, *arguments: str) -> Iterator[list[int]]:
    """The ids that the program prints. All are killed at the end."""
    process = subprocess.Popen([sys.executable, str(path), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ids = [int(word) for word in process.stdout.readline().split()]
    try:
        yield ids
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        for pid in ids[1:]:
            if not has_ended(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("thread", ["main", "thread"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_daemon_does_not_outlive_a_parent_that_is_killed(
    program: Any, eventually: Any, method: str, thread: str
) -> None:
    with running(program(PARENT), method, "daemon", thread) as (parent, daemon):
        assert not has_ended(daemon)
        os.kill(parent, signal.SIGKILL)
        eventually(lambda: has_ended(daemon), "the end of the daemon")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_process_that_is_no_daemon_lives_on(program: Any, eventually: Any, method: str) -> None:
    with running(program(PARENT), method, "other", "main") as (parent, child):
        os.kill(parent, signal.SIGKILL)
        eventually(lambda: has_ended(parent))
        # That nothing happens cannot be awaited; a daemon ends within milliseconds.
        time.sleep(0.3)
        assert not has_ended(child)


def test_the_fork_server_does_not_outlive_the_process_that_launched_it(program: Any, eventually: Any) -> None:
    path = program("""
        import os, time, shoal
        from shoal.forkserver import _forkserver

        if __name__ == "__main__":
            _forkserver.ensure_running()
            print(os.getpid(), _forkserver._forkserver_pid, flush=True)
            time.sleep(120)
    """)
    with running(path) as (parent, server):
        assert not has_ended(server)
        os.kill(parent, signal.SIGKILL)
        eventually(lambda: has_ended(server), "the end of the server")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_a_pool_do_not_outlive_a_parent_that_is_killed(program: Any, eventually: Any, method: str) -> None:
    path = program("""
        import os, sys, time, shoal

        def work(_):
            time.sleep(0.05)
            return os.getpid()

        if __name__ == "__main__":
            pool = shoal.get_context(sys.argv[1]).Pool(2)
            workers = set()
            while len(workers) < 2:
                workers.update(pool.map(work, range(4), chunksize=1))
            print(os.getpid(), *workers, flush=True)
            time.sleep(120)
    """)
    with running(path, method) as (parent, *workers):
        os.kill(parent, signal.SIGKILL)
        eventually(lambda: all(map(has_ended, workers)), "the end of the workers")


CRASH = """
import os, signal, sys, shoal

def where_it_was():
    os.kill(os.getpid(), signal.SIGSEGV)

if __name__ == "__main__":
    child = shoal.get_context(sys.argv[1]).Process(target=where_it_was)
    child.start()
    child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_crash_prints_where_it_was(run: Callable[..., Any], program: Any, method: str) -> None:
    ended = run(str(program(CRASH)), method)
    assert ended.out == f"{-signal.SIGSEGV}\n", ended
    assert "Segmentation fault" in ended.err
    assert "where_it_was" in ended.err


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_trace_of_a_crash_can_be_switched_off(run: Callable[..., Any], program: Any, method: str) -> None:
    ended = run(str(program(CRASH)), method, env={"SHOAL_FAULTHANDLER": "0"})
    assert (ended.out, ended.err) == (f"{-signal.SIGSEGV}\n", ""), ended


def test_a_child_of_a_killed_fork_server_goes_on_and_its_exit_code_is_known_or_255(eventually: Any) -> None:
    from shoal.forkserver import _forkserver

    context = shoal.get_context("forkserver")
    begun, go_on = context.Event(), context.Event()
    child = context.Process(target=wait_for, args=(begun, go_on))
    child.start()
    assert begun.wait(30)
    server = _forkserver._forkserver_pid
    assert server is not None
    os.kill(server, signal.SIGKILL)
    eventually(lambda: has_ended(server))
    another = context.Process()
    another.start()
    another.join()
    assert another.exitcode == 0
    assert _forkserver._forkserver_pid not in (server, None)
    assert child.is_alive()
    go_on.set()
    child.join(30)
    assert child.exitcode in (7, 255)


def wait_for(begun: Any, go_on: Any) -> None:
    begun.set()
    go_on.wait(30)
    sys.exit(7)


STARTER = """
import sys, shoal

def nothing():
    pass

if __name__ == "__main__":
    context = shoal.get_context(sys.argv[1])
    print("begun", flush=True)
    while True:
        child = context.Process(target=nothing, daemon=True)
        child.start()
        child.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_parent_killed_while_it_starts_processes_leaves_none(
    program: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = program(STARTER)
    generator = random.Random(method)
    for round_ in range(5):
        mark = f"shoal-test-{os.getpid()}-{method}-{round_}"
        monkeypatch.setenv("MARK", mark)
        process = subprocess.Popen([sys.executable, str(path), method], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.random() / 5)  # anywhere in it
        process.kill()
        process.wait()
        process.stdout.close()
        eventually(lambda mark=mark: not processes_with(mark), "the end of all that it had started")


def processes_with(mark: str) -> list[str]:
    """The ids of the processes that have inherited the mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(folder.name)
    return found

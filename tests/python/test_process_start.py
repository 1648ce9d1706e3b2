"""Starting processes: what a child has, many of them, and starts that fail."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def tell_state(out: Any) -> None:
    links = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            links[int(number)] = os.readlink(f"/proc/self/fd/{number}")
    out.put((links, signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGINT), sys.stdin.read()))


def add_up(out: Any, queues: list[Any]) -> None:
    out.put(sum(queue.get(timeout=30) for queue in queues))


def put_pid(out: Any) -> None:
    out.put(os.getpid())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_fresh_child_has_only_what_it_was_given(method: str) -> None:
    context = shoal.get_context(method)
    out = context.Queue()
    read, write = os.pipe()
    os.set_inheritable(write, True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        child = context.Process(target=tell_state, args=(out,))
        child.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    links, blocked, on_interrupt, read_from_stdin = out.get(timeout=30)
    child.join()
    assert links[0] == "/dev/null"
    assert os.readlink(f"/proc/self/fd/{write}") not in links.values()
    # The queue's, the parent's pidfd, the resource tracker's and the fork server's.
    assert len(links) <= 3 + 3 + 1 + 1 + 1
    assert blocked == set()
    assert on_interrupt is signal.default_int_handler
    assert read_from_stdin == ""
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_any_number_of_handles_can_be_passed(method: str) -> None:
    context = shoal.get_context(method)
    out = context.Queue()
    queues = [context.Queue() for _ in range(300)]
    for queue in queues:
        queue.put(1)
    child = context.Process(target=add_up, args=(out, queues))
    child.start()
    assert out.get(timeout=30) == 300
    child.join()
    for queue in queues:
        queue.close()


MANY = """
import os, sys, shoal

def meet(ready, go_on):
    ready.release()
    go_on.wait(60)

if __name__ == "__main__":
    context = shoal.get_context(sys.argv[1])
    first = context.Process(); first.start(); first.join(); first.close()
    before = len(os.listdir("/proc/self/fd"))
    ready, go_on = context.Semaphore(0), context.Event()
    children = [context.Process(target=meet, args=(ready, go_on)) for _ in range(500)]
    for child in children:
        child.start()
    for _ in children:
        assert ready.acquire(timeout=60)
    go_on.set()
    for child in children:
        child.join()
    print({child.exitcode for child in children})
    for child in children:
        child.close()
    print(len(os.listdir("/proc/self/fd")) - before <= 4)  # those of the shared memory of locks
"""


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_500_run_at_once(run: Callable[..., Any], program: Any, method: str) -> None:
    ended = run(str(program(MANY)), method)
    assert ended.out == "{0}\nTrue\n", ended


def test_thousands_one_after_the_other_leave_nothing_behind(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import os, shoal

        if __name__ == "__main__":
            context = shoal.get_context("fork")
            counts = set()
            for _ in range(5000):
                child = context.Process()
                child.start()
                child.join()
                assert child.exitcode == 0
                counts.add(len(os.listdir("/proc/self/fd")))
            print(len(counts) <= 2, shoal.active_children())
    """)
    ended = run(str(path))
    assert ended.out == "True []\n", ended


@pytest.mark.usefixtures("no_leaks")
def test_several_threads_may_start_processes_at_once(context: Any) -> None:
    out = context.Queue()

    def start_some() -> None:
        for _ in range(4):
            child = context.Process(target=put_pid, args=(out,))
            child.start()
            child.join()
            child.close()

    threads = [threading.Thread(target=start_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({out.get(timeout=30) for _ in range(16)}) == 16
    out.close()


@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_what_cannot_be_pickled_makes_start_fail(method: str) -> None:
    context = shoal.get_context(method)
    child = context.Process(target=lambda: None)
    with pytest.raises(Exception, match=r"(?i)pickle|local object") as raised:
        child.start()
    if sys.version_info >= (3, 11):
        assert any(method in note and "pickle" in note for note in raised.value.__notes__)
    assert child.pid is None
    assert shoal.active_children() == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_missing_interpreter_makes_start_fail(run: Callable[..., Any], method: str) -> None:
    ended = run(
        "-c",
        "import shoal\n"
        "shoal.set_executable('/no/such/python')\n"
        f"child = shoal.get_context('{method}').Process()\n"
        "try: child.start()\n"
        "except FileNotFoundError as error: print(error, shoal.active_children())\n",
    )
    assert "/no/such/python" in ended.out, ended
    assert ended.out.endswith("[]\n"), ended


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_out_of_descriptors_start_fails_and_leaves_nothing(run: Callable[..., Any], method: str) -> None:
    ended = run(
        "-c",
        "import os, resource, shoal\n"
        f"context = shoal.get_context('{method}')\n"
        "first = context.Process(); first.start(); first.join(); first.close()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "kept = []\n"
        "try:\n"
        "    while True: kept.append(os.dup(0))\n"
        "except OSError: pass\n"
        "child = context.Process(target=print, args=('never',))\n"
        "try: child.start()\n"
        "except OSError as error: print(error.errno, child.pid, shoal.active_children())\n"
        "for descriptor in kept: os.close(descriptor)\n"
        "child.start(); child.join(); print(child.exitcode)\n",
    )
    assert ended.out == "24 None []\nnever\n0\n", ended


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_out_of_processes_start_fails_and_leaves_nothing(run: Callable[..., Any], program: Any, method: str) -> None:
    program(
        """
        import os, resource
        if os.geteuid() == 0:
            os.setresuid(4711, 4711, 4711)  # the limit is not for root
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        """,
        "no_more_processes.py",
    )
    path = program("""
        import os, sys, shoal

        if __name__ == "__main__":
            context = shoal.get_context(sys.argv[1])
            context.set_forkserver_preload(["no_more_processes"])
            if sys.argv[1] != "forkserver":
                first = context.Process(); first.start(); first.join(); first.close()
                import no_more_processes
            child = context.Process(target=print, args=("never",))
            for _ in range(2):
                try:
                    child.start()
                except BlockingIOError as error:
                    print(child.pid, shoal.active_children())
                left = len(os.listdir("/proc/self/fd"))
                print(left if _ else "")
            try:
                child.start()
            except BlockingIOError:
                print(len(os.listdir("/proc/self/fd")))
    """)
    ended = run(str(path), method)
    lines = ended.out.split()
    assert ended.out.count("None []") == 2, ended
    assert lines[-1] == lines[-2], ended


def test_a_fork_beside_threads_is_warned_of() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    child = shoal.get_context("fork").Process()
    try:
        with pytest.warns(
            DeprecationWarning, match=rf"This process \(pid={os.getpid()}\) is multi-threaded, use of fork"
        ):
            child.start()
    finally:
        stop.set()
        thread.join()
        child.join()


@pytest.mark.parametrize(("options", "expected"), [((), "forkserver"), (("-m", "shoal"), "fork")])
@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the default is forkserver")
def test_beside_threads_the_default_is_the_fork_server_except_under_the_alias(
    run: Callable[..., Any], options: tuple[str, ...], expected: str
) -> None:
    text = (
        "import threading, shoal\n"
        "stop = threading.Event()\n"
        "thread = threading.Thread(target=stop.wait); thread.start()\n"
        "print(shoal.get_start_method(allow_none=True), shoal.get_start_method())\n"
        "stop.set()\n"
    )
    assert run(*options, "-c", text).out == f"None {expected}\n"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the default is forkserver")
def test_without_threads_the_default_is_the_interpreters(run: Callable[..., Any]) -> None:
    assert run("-c", "import shoal; print(shoal.get_start_method())").out == "fork\n"

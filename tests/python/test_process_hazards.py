"""Starting processes while other things happen: forks, signals, and the ends of servers and trackers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal

METHODS = ["fork", "spawn", "forkserver"]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_fork_of_a_program_that_has_started_processes_can_start_some(
    run: Callable[..., Any], program: Any, method: str
) -> None:
    path = program("""
        import sys, shoal

        def start_another():
            child = shoal.get_context(sys.argv[1]).Process()
            child.start()
            child.join()
            sys.exit(child.exitcode)

        if __name__ == "__main__":
            first = shoal.get_context(sys.argv[1]).Process()
            first.start()
            first.join()
            child = shoal.get_context("fork").Process(target=start_another)
            child.start()
            child.join()
            print(child.exitcode)
    """)
    ended = run(str(path), method)
    assert ended.out == "0\n", ended


def test_a_resource_tracker_that_was_killed_is_replaced(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import os, signal, shoal
        from multiprocessing.resource_tracker import _resource_tracker as tracker

        if __name__ == "__main__":
            context = shoal.get_context("spawn")
            child = context.Process(); child.start(); child.join()
            first = tracker._pid
            os.kill(first, signal.SIGKILL)
            os.waitid(os.P_PID, first, os.WEXITED)  # by somebody else, so that nobody can wait for it again
            child = context.Process(); child.start(); child.join()
            print(child.exitcode, tracker._pid not in (first, None))
    """)
    ended = run(str(path))
    assert ended.out == "0 True\n", ended


@pytest.mark.parametrize("method", METHODS)
def test_start_with_a_setting_does_not_wait_for_a_fork_made_meanwhile(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from shoal import _settings

    context = shoal.get_context(method)
    go_on = shoal.Event()
    other = shoal.get_context("fork").Process(target=go_on.wait, args=(60,))
    create = _settings.Report.__init__

    def create_and_fork(report: Any) -> None:
        create(report)
        other.start()  # has both ends of the report's pipe now

    monkeypatch.setattr(_settings.Report, "__init__", create_and_fork)
    child = context.Process(nice=os.getpriority(os.PRIO_PROCESS, 0) + 1)
    starter = threading.Thread(target=child.start)
    starter.start()
    starter.join(20)
    still_starting = starter.is_alive()
    go_on.set()
    starter.join()
    other.join()
    assert not still_starting
    child.join()
    assert child.exitcode == 0


def test_a_fork_of_a_fork_of_a_served_daemon_keeps_its_descriptors(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import os, shoal

        def fork_twice():
            if (child := os.fork()) == 0:
                kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(6)]
                if (grandchild := os.fork()) == 0:
                    for descriptor in kept:
                        os.fstat(descriptor)
                    os._exit(7)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

        if __name__ == "__main__":
            daemon = shoal.get_context("forkserver").Process(target=fork_twice, daemon=True)
            daemon.start()
            daemon.join()
            print(daemon.exitcode)
    """)
    ended = run(str(path))
    assert (ended.out, ended.err) == ("7\n", ""), ended


def test_the_fork_server_serves_a_program_with_very_long_arguments(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import sys, shoal

        def tell(out):
            out.put(len(sys.argv[-1]))

        if __name__ == "__main__":
            sys.argv.append("x" * 3_000_000)
            context = shoal.get_context("forkserver")
            for _ in range(2):
                out = context.Queue()
                child = context.Process(target=tell, args=(out,))
                child.start()
                print(out.get(timeout=30))
                child.join()
    """)
    ended = run(str(path))
    assert (ended.out, ended.err) == ("3000000\n3000000\n", ""), ended


def test_fork_servers_that_end_at_once_leave_no_zombies(run: Callable[..., Any], program: Any) -> None:
    program("import os; os._exit(3)", "ends_the_server.py")
    path = program("""
        import os, shoal

        if __name__ == "__main__":
            shoal.set_forkserver_preload(["ends_the_server"])
            try:
                shoal.get_context("forkserver").Process().start()
            except shoal.ProcessError:
                pass
            states = []
            for folder in os.listdir("/proc"):
                if folder.isdigit():
                    try:
                        _, _, rest = open(f"/proc/{folder}/stat").read().rpartition(")")
                    except OSError:
                        continue
                    state, parent = rest.split()[:2]
                    if int(parent) == os.getpid():
                        states.append(state)
            print("Z" in states)
    """)
    ended = run(str(path))
    assert ended.out == "False\n", ended


INTERRUPTED = """
import sys, time, shoal

def sleep():
    time.sleep(60)

if __name__ == "__main__":
    shoal.set_forkserver_preload(["has_files"])
    context = shoal.get_context(sys.argv[1])
    codes = set()
    for _ in range(30):
        child = context.Process(target=sleep)
        child.start()
        child.interrupt()
        child.join(20)
        codes.add(child.exitcode)
        if child.exitcode is None:
            child.kill()
            break
    print(codes)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_an_interrupt_right_after_the_start_ends_the_child_and_nothing_else(
    run: Callable[..., Any], program: Any, tmp_path: Path, method: str
) -> None:
    program(
        """
        import atexit, os
        atexit.register(lambda: open(f"ended-{os.getpid()}", "w").close())
        """,
        "has_files.py",
    )
    ended = run(str(program(INTERRUPTED)), method)
    assert ended.out == "{1}\n", ended
    # At most the server itself has come to its atexit functions.
    assert len(list(tmp_path.glob("ended-*"))) <= 1


@pytest.fixture
def ended_under_a_stopped_server() -> Iterator[Any]:
    """A process that has ended, while the fork server cannot tell how."""
    from shoal.forkserver import _forkserver

    context = shoal.get_context("forkserver")
    go_on = context.Event()
    child = context.Process(target=go_on.wait, args=(60,))
    child.start()
    server = _forkserver._forkserver_pid
    assert server is not None
    os.kill(server, signal.SIGSTOP)
    try:
        go_on.set()
        assert shoal.connection.wait([child.sentinel], 30)
        yield child
    finally:
        os.kill(server, signal.SIGCONT)
    child.join(30)
    assert child.exitcode == 0


def test_other_threads_run_while_a_stopped_fork_server_is_asked_for_an_exit_code(
    ended_under_a_stopped_server: Any,
) -> None:
    turns = 0
    stop = threading.Event()

    def take_turns() -> None:
        nonlocal turns
        while not stop.wait(0.001):
            turns += 1

    thread = threading.Thread(target=take_turns)
    thread.start()
    before = turns
    ended_under_a_stopped_server.is_alive()
    seen = turns - before
    stop.set()
    thread.join()
    assert seen > 10


def test_an_event_loop_goes_on_while_a_stopped_fork_server_is_asked_for_an_exit_code(
    ended_under_a_stopped_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever gives the server time, which would be up to a second, stops the loop meanwhile.
    asked = []
    popen = ended_under_a_stopped_server._popen
    wait = popen.wait
    monkeypatch.setattr(popen, "wait", lambda timeout=None: asked.append(timeout) or wait(timeout))

    async def look() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ended_under_a_stopped_server.wait(), 0.2)

    asyncio.run(look())
    assert asked == []

"""shoal.Process with each start method."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import shoal


def leave_with(status: Any) -> None:
    sys.exit(status)


def die_of(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def fail() -> None:
    raise LookupError("the child's own error")


def wait_for_ever(ready: Any) -> None:
    ready.set()
    while True:
        signal.pause()


def report_relations(out: Any) -> None:
    parent = shoal.parent_process()
    assert parent is not None
    out.put((os.getpid(), parent.pid, parent.is_alive(), shoal.current_process().name, len(shoal.active_children())))


def outlive_parent(ready: Any, out: Any) -> None:
    parent = shoal.parent_process()
    assert parent is not None
    alive = parent.is_alive()
    ready.set()
    parent.join(30)
    out.put((alive, parent.is_alive()))


def start_one_and_vanish(ready: Any, out: Any) -> None:
    shoal.get_context("fork").Process(target=outlive_parent, args=(ready, out)).start()
    assert ready.wait(30)
    os._exit(0)


def start_grandchild(out: Any) -> None:
    grandchild = shoal.get_context("fork").Process(target=report_relations, args=(out,))
    grandchild.start()
    grandchild.join()
    out.put(os.getpid())


def test_the_child_knows_itself_and_its_parent(context: Any) -> None:
    out = context.Queue()
    child = context.Process(target=report_relations, args=(out,), name="Hilde")
    assert child.exitcode is None
    assert not child.is_alive()
    child.start()
    pid, parent_pid, parent_alive, name, children = out.get(timeout=30)
    assert (pid, parent_pid, parent_alive, name, children) == (child.pid, os.getpid(), True, "Hilde", 0)
    child.join()
    assert child.exitcode == 0
    assert not child.is_alive()
    assert child not in shoal.active_children()


def test_a_grandchild_has_its_own_parent(context: Any) -> None:
    out = context.Queue()
    child = context.Process(target=start_grandchild, args=(out,))
    child.start()
    _, parent_pid, alive, _, _ = out.get(timeout=30)
    assert (parent_pid, alive) == (child.pid, True)
    assert out.get(timeout=30) == child.pid
    child.join()


def test_a_child_sees_its_parent_end() -> None:
    ready, out = shoal.Event(), shoal.Queue()
    child = shoal.Process(target=start_one_and_vanish, args=(ready, out))
    child.start()
    assert out.get(timeout=30) == (True, False)
    child.join()


@pytest.mark.parametrize(("status", "expected"), [(None, 0), (0, 0), (7, 7), ("an explanation", 1)])
def test_exit_statuses_arrive(context: Any, status: Any, expected: int) -> None:
    child = context.Process(target=leave_with, args=(status,))
    child.start()
    child.join()
    assert child.exitcode == expected


def test_a_signal_is_a_negative_exit_code(context: Any) -> None:
    child = context.Process(target=die_of, args=(signal.SIGKILL,))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert "SIGKILL" in repr(child)


@pytest.mark.parametrize("method", ["fork", "spawn"])  # a fork server prints where it could when it was started
def test_an_exception_is_printed_with_its_traceback(method: str, capfd: pytest.CaptureFixture[str]) -> None:
    child = shoal.get_context(method).Process(target=fail, name="Failing")
    child.start()
    child.join()
    assert child.exitcode == 1
    printed = capfd.readouterr().err
    assert "Process Failing:" in printed
    assert "LookupError: the child's own error" in printed


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_it_can_be_ended_from_outside(context: Any, how: str) -> None:
    ready = context.Event()
    child = context.Process(target=wait_for_ever, args=(ready,))
    child.start()
    assert ready.wait(30)
    assert child.is_alive()
    getattr(child, how)()
    child.join(30)
    assert child.exitcode == (-signal.SIGTERM if how == "terminate" else -signal.SIGKILL)
    getattr(child, how)()  # does nothing, least of all to another process


def test_join_gives_up_after_the_timeout() -> None:
    ready = shoal.Event()
    child = shoal.Process(target=wait_for_ever, args=(ready,))
    child.start()
    started = time.monotonic()
    child.join(0.05)
    assert time.monotonic() - started >= 0.05
    assert child.exitcode is None
    child.join(-1)
    with pytest.raises(ValueError, match="Cannot close a process while it is still running"):
        child.close()
    child.kill()
    child.join()
    child.close()
    with pytest.raises(ValueError, match="process object is closed"):
        child.is_alive()


def test_the_sentinel_polls_readable_once_it_has_ended(context: Any) -> None:
    ready = context.Event()
    child = context.Process(target=wait_for_ever, args=(ready,))
    with pytest.raises(ValueError, match="not started"):
        child.sentinel  # noqa: B018
    child.start()
    assert shoal.connection.wait([child.sentinel], timeout=0) == []
    child.kill()
    assert shoal.connection.wait([child.sentinel], timeout=30) == [child.sentinel]
    child.join()


def test_the_sentinel_is_a_pidfd(context: Any) -> None:
    child = context.Process()
    child.start()
    assert os.readlink(f"/proc/self/fd/{child.sentinel}") == "anon_inode:[pidfd]"
    child.join()


def leave_a_grandchild(out: Any) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    out.put(pid)


def test_a_forgotten_grandchild_does_not_delay_the_sentinel(context: Any) -> None:
    out = context.Queue()
    child = context.Process(target=leave_a_grandchild, args=(out,))
    child.start()
    grandchild = out.get(timeout=30)
    try:
        poll = select.poll()
        poll.register(child.sentinel, select.POLLIN)
        assert poll.poll(30_000)
        child.join()
        assert child.exitcode == 0
    finally:
        os.kill(grandchild, signal.SIGKILL)


def test_a_child_reaped_by_somebody_else_has_ended_all_the_same() -> None:
    child = shoal.get_context("fork").Process()
    child.start()
    os.waitpid(child.pid, 0)
    child.join(30)
    assert not child.is_alive()


def test_output_written_before_a_fork_is_written_once(run: Callable[..., Any]) -> None:
    ended = run("-c", "import shoal; print('once'); p = shoal.Process(); p.start(); p.join()")
    assert ended.out == "once\n", ended


def test_daemons_end_with_their_parent_and_others_are_waited_for(run: Callable[..., Any], program: Any) -> None:
    path = program("""
        import shoal, time

        def last_words():
            time.sleep(0.2)
            print("waited for", flush=True)

        if __name__ == "__main__":
            shoal.Process(target=time.sleep, args=(60,), daemon=True).start()
            shoal.Process(target=last_words).start()
    """)
    started = time.monotonic()
    ended = run(str(path))
    assert ended.out == "waited for\n", ended
    assert time.monotonic() - started < 30


def test_a_subclass_may_override_run(context: Any) -> None:
    out = context.Queue()
    greeters = {"fork": ForkGreeter, "spawn": SpawnGreeter, "forkserver": ForkServerGreeter}
    child: Any = greeters[context.get_start_method()](out)
    child.start()
    assert out.get(timeout=30) == "hello"
    child.join()


class Greeting:
    def __init__(self, out: Any) -> None:
        super().__init__()
        self.out = out

    def run(self) -> None:
        self.out.put("hello")


class ForkGreeter(Greeting, shoal.get_context("fork").Process):  # type: ignore[misc]
    pass


class SpawnGreeter(Greeting, shoal.get_context("spawn").Process):  # type: ignore[misc]
    pass


class ForkServerGreeter(Greeting, shoal.get_context("forkserver").Process):  # type: ignore[misc]
    pass


@pytest.mark.usefixtures("no_leaks")
def test_processes_leave_no_descriptors_behind() -> None:
    for method in ("fork", "spawn", "forkserver"):
        for _ in range(5):
            child = shoal.get_context(method).Process()
            child.start()
            child.join()
            child.close()

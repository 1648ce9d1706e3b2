"""Thousands of queues at once, and one after the other, leave nothing behind."""

from __future__ import annotations

import resource
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MANY = 10_000

# What the tests count, in a process of its own: limits and memory are those of that process.
CENSUS = """
    import gc, os, resource, sys, time
    import shoal

    def census():
        gc.collect()
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        return {
            "descriptors": len(os.listdir("/proc/self/fd")),
            "mappings": sum("shoal:queue" in line for line in open("/proc/self/maps")),
            "shared KiB": int(status["RssShmem"].split()[0]),
            "resident KiB": int(status["VmRSS"].split()[0]),
        }

    def assert_nothing_more(before, slack):
        # The thread that hands out what is sent may still be closing its side of the last connection.
        until = time.monotonic() + 20
        while (after := census())["descriptors"] > before["descriptors"] and time.monotonic() < until:
            time.sleep(0.01)
        for what in ("descriptors", "mappings", "shared KiB"):
            assert after[what] <= before[what], (what, before, after)
        assert after["resident KiB"] <= before["resident KiB"] + slack, (before, after)
"""


@pytest.fixture
def counted(program: Callable[..., Path], run: Callable[..., Any]) -> Callable[..., None]:
    """counted(text, arguments...): run this program, which may use what CENSUS defines, to its successful end."""

    def run_program(text: str, *arguments: object) -> None:
        ended = run(str(program(textwrap.dedent(CENSUS) + textwrap.dedent(text))), *map(str, arguments))
        assert ended.status == 0, ended

    return run_program


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < MANY + 100,
    reason=f"the hard limit of descriptors (ulimit -Hn) is below {MANY}",
)
def test_ten_thousand_queues_exist_at_once_and_leave_nothing_behind(counted: Callable[..., None]) -> None:
    counted(
        """
        many = int(sys.argv[1])
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        shoal.Queue().put(0)
        before = census()
        queues = [shoal.Queue() for _ in range(many)]
        assert census()["descriptors"] <= before["descriptors"] + many
        for number, queue in enumerate(queues):
            queue.put([number])
        for number, queue in enumerate(queues):
            assert queue.qsize() == 1
            assert queue.get() == [number]
            assert queue.empty()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        del queues, queue
        assert_nothing_more(before, slack=16 * 1024)
        """,
        MANY,
    )


def test_a_child_uses_the_thousand_queues_of_its_parent(counted: Callable[..., None]) -> None:
    counted(
        """
        queues = [shoal.Queue() for _ in range(1000)]

        def answer():
            for queue in queues:
                queue.put(queue.get(timeout=30) + 1)

        child = shoal.get_context("fork").Process(target=answer)
        child.start()
        for number, queue in enumerate(queues):
            queue.put(number)
        child.join()
        assert child.exitcode == 0
        assert [queue.get(timeout=30) for queue in queues] == list(range(1, 1001))
        """
    )


def test_hundreds_of_queues_are_sent_under_a_low_limit(counted: Callable[..., None]) -> None:
    counted(
        """
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        through, back = shoal.Queue(), shoal.Queue()

        def answer():
            resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
            kept = []
            while (received := through.get(timeout=30)) is not None:
                received.put(len(kept))
                kept.append(received)
            back.put(len(kept))

        child = shoal.get_context("fork").Process(target=answer)
        child.start()
        queues = [shoal.Queue() for _ in range(400)]
        for queue in queues:
            through.put(queue)
        through.put(None)
        assert back.get(timeout=30) == 400
        assert [queue.get() for queue in queues] == list(range(400))
        child.join()
        """
    )


@pytest.mark.parametrize(
    ("times", "use"),
    [
        pytest.param(10_000, "queue.put(1); queue.get()", id="a number"),
        pytest.param(10_000, "queue.put(list(range(100)))", id="an item that stays in it"),
        pytest.param(10_000, "queue.fileno(); queue.put(1); queue.get()", id="polled"),
        pytest.param(1_000, "queue.put(bytes(1_000_000)); queue.get()", id="a large item"),
        pytest.param(1_000, "queue.put(bytearray(1_000_000))", id="a large item that stays in it"),
        pytest.param(1_000, "queue.put(queue); queue.get()", id="itself"),
    ],
)
def test_queues_made_used_and_dropped_leave_nothing_behind(counted: Callable[..., None], times: int, use: str) -> None:
    counted(
        f"""
        def rounds(count):
            for _ in range(count):
                queue = shoal.Queue()
                {use}

        rounds(100)
        before = census()
        rounds({times})
        assert_nothing_more(before, slack=2 * 1024)
        """
    )


def test_bounded_queues_that_were_full_leave_nothing_behind(counted: Callable[..., None]) -> None:
    counted(
        """
        import queue as standard

        def rounds(count):
            for _ in range(count):
                queue = shoal.Queue(1)
                queue.put(1)
                try:
                    queue.put_nowait(2)
                except standard.Full:
                    continue
                raise AssertionError("it was not full")

        rounds(100)
        before = census()
        rounds(3000)
        assert_nothing_more(before, slack=2 * 1024)
        """
    )

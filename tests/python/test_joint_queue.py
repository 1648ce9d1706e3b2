"""A Python and a C++ program on the same queues: those of examples/joint_queue.py and joint_queue.cpp."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import shoal
from examples_support import EXAMPLES, cpp_example

PATIENCE = 30.0


class Surveyors:
    """C++ programs that take plots from one queue and put surveys into another."""

    def __init__(self, maxsize: int = 0) -> None:
        self.plots: Any = shoal.Queue(maxsize)
        self.surveys: Any = shoal.Queue(maxsize)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        queues = (self.plots.descriptors(), self.surveys.descriptors())
        process = subprocess.Popen(
            [cpp_example("joint_queue"), *(",".join(map(str, descriptors)) for descriptors in queues)],
            pass_fds=sum(queues, ()),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def survey(self, plot: Any) -> Any:
        self.plots.put(plot, timeout=PATIENCE)
        return self.surveys.get(timeout=PATIENCE)


@pytest.fixture
def surveyors() -> Iterator[Surveyors]:
    made = Surveyors()
    yield made
    end(made)


def end(made: Surveyors) -> None:
    for process in made.processes:
        process.kill()
        process.wait(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def square(name: str, size: float) -> dict[str, Any]:
    return {"name": name, "rings": [[(0.0, 0.0), (size, 0.0), (size, size), (0.0, size)]]}


def test_the_example_prints_what_the_cpp_program_found(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "joint_queue.py"), str(cpp_example("joint_queue")))
    assert ended.status == 0, ended
    lines = ended.out.splitlines()
    assert lines[0] == "{'name': 'orchard', 'corners': 4, 'area': 1000.0, 'bounds': ((0.0, 0.0), (40.0, 25.0))}"
    assert len(lines) == 3
    assert ended.err == ""


def test_the_example_says_if_the_cpp_program_ends_early(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "joint_queue.py"), "/bin/true")
    assert ended.status == 1, ended
    assert ended.err == "the surveyor has ended with 0 before its work was done\n"


def test_aggregates_come_as_dicts_and_tuples_with_their_types(surveyors: Surveyors) -> None:
    surveyors.start()
    survey = surveyors.survey(square("field", 2.0))
    assert survey == {"name": "field", "corners": 4, "area": 4.0, "bounds": ((0.0, 0.0), (2.0, 2.0))}
    assert list(survey) == ["name", "corners", "area", "bounds"]
    assert [type(value) for value in survey.values()] == [str, int, float, tuple]
    assert type(survey["bounds"][0]) is tuple


def test_an_empty_optional_is_none(surveyors: Surveyors) -> None:
    surveyors.start()
    assert surveyors.survey({"name": "nothing", "rings": []})["bounds"] is None


@pytest.mark.parametrize("name", ["", "Äcker und Wälder", "\N{SEEDLING}\0\N{SNOWMAN}", "x" * 1_000_000])
def test_text_comes_back_as_it_was(surveyors: Surveyors, name: str) -> None:
    surveyors.start()
    assert surveyors.survey({"name": name, "rings": []})["name"] == name


def test_cpp_reads_what_python_programmers_write_for_the_same_thing(surveyors: Surveyors) -> None:
    surveyors.start()
    expected = surveyors.survey(square("field", 2.0))
    for rings in ([[[0, 0], [2, 0], [2, 2], [0, 2]]], ([(0, 0), (2, 0.0), (2, 2), (0, 2)],)):
        assert surveyors.survey({"rings": rings, "name": "field"}) == expected
        assert surveyors.survey(("field", rings)) == expected


def test_large_nested_vectors_cross(surveyors: Surveyors) -> None:
    surveyors.start()
    rings = [[(float(x), float(ring)) for x in range(1000)] for ring in range(100)]
    survey = surveyors.survey({"name": "large", "rings": rings})
    assert survey["corners"] == 100_000
    assert survey["bounds"] == ((0.0, 0.0), (999.0, 99.0))


def test_both_sides_wait_for_room_in_bounded_queues() -> None:
    bounded = Surveyors(maxsize=2)
    try:
        surveyor = bounded.start()
        received = []
        for number in range(200):
            bounded.plots.put(square(str(number), number), timeout=PATIENCE)
            if number % 2:  # two are under way, so all fits, but only just
                received += [bounded.surveys.get(timeout=PATIENCE)["area"] for _ in range(2)]
        assert received == [float(number * number) for number in range(200)]
        bounded.plots.put(None)
        assert bounded.surveys.get(timeout=PATIENCE) is None
        assert surveyor.wait(PATIENCE) == 0
    finally:
        end(bounded)


def test_several_cpp_programs_and_python_share_the_work(surveyors: Surveyors) -> None:
    for number in range(300):
        surveyors.plots.put(square(str(number), 1))
    own = surveyors.plots.get()
    for _ in range(2):
        surveyors.start()
    # Python is a producer beside the C++ ones, into the queue that it empties.
    surveyors.surveys.put(own)
    names = {surveyors.surveys.get(timeout=PATIENCE)["name"] for _ in range(300)}
    assert names == {str(number) for number in range(300)}


def test_the_queues_go_on_after_a_cpp_program_was_killed(surveyors: Surveyors) -> None:
    victim = surveyors.start()
    assert surveyors.survey(square("before", 1))["name"] == "before"
    os.kill(victim.pid, signal.SIGKILL)
    assert victim.wait(PATIENCE) == -signal.SIGKILL
    surveyors.plots.put(square("after", 1))
    assert surveyors.plots.qsize() == 1
    surveyors.start()
    assert surveyors.surveys.get(timeout=PATIENCE)["name"] == "after"


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ({"a set"}, "pickle"),
        ("only text", "found a string of 9 bytes"),
        ({"name": "no rings"}, "rings"),
        ({"name": "too much", "rings": [], "owner": "?"}, "owner"),
        ({"name": "a corner is text", "rings": [[("a", "b")]]}, "string"),
        ({"name": "three coordinates", "rings": [[(1, 2, 3)]]}, "point"),
    ],
)
def test_what_is_no_plot_is_an_error_that_says_what_was_found(surveyors: Surveyors, item: Any, complaint: str) -> None:
    surveyor = surveyors.start()
    surveyors.plots.put(item)
    _, said = surveyor.communicate(timeout=PATIENCE)
    assert surveyor.returncode == 1
    assert complaint in said, said


def test_a_descriptor_of_something_else_is_an_error_that_says_so(tmp_path: Path) -> None:
    with open(EXAMPLES / "joint_queue.py") as file:
        numbers = [f"{file.fileno()},{file.fileno()}"] * 2
        program = [cpp_example("joint_queue"), *numbers]
        ended = subprocess.run(
            program, pass_fds=[file.fileno()], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert ended.returncode == 1
    assert "not a Shoal" in ended.stderr, ended.stderr

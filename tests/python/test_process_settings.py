"""What can be set for one process: cwd, env, cpu_affinity, nice, max_memory, and its name."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

LIMIT = 512 << 20


def tell_working_directory(out: Any) -> None:
    out.put(os.getcwd())


def tell_environment(out: Any) -> None:
    out.put((os.environ.get("FRUIT"), os.environ.get("HOME"), hash("a word")))


def tell_cpus_and_niceness(out: Any) -> None:
    out.put((os.sched_getaffinity(0), os.getpriority(os.PRIO_PROCESS, 0)))


def tell_name(out: Any) -> None:
    out.put(Path("/proc/self/comm").read_text())


def allocate(out: Any, size: int) -> None:
    try:
        out.put(len(bytearray(size)))
    except MemoryError:
        out.put(f"MemoryError, limit {resource.getrlimit(resource.RLIMIT_DATA)[0]}")


def run(context: Any, target: Any, *args: Any, **settings: Any) -> Any:
    out = context.Queue()
    child = context.Process(target=target, args=(out, *args), **settings)
    child.start()
    result = out.get(timeout=30)
    child.join()
    return result


def test_a_process_begins_in_its_working_directory(context: Any, tmp_path: Path) -> None:
    assert run(context, tell_working_directory, cwd=tmp_path) == str(tmp_path)
    assert os.getcwd() != str(tmp_path)


def test_a_relative_working_directory_is_relative_to_the_starters(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(context, tell_working_directory, cwd="below") == str(tmp_path / "below")


def test_an_environment_replaces_the_inherited_one(context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    environment = {"FRUIT": "pear", "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH")]))}
    assert run(context, tell_environment, env=environment)[:2] == ("pear", None)
    assert "FRUIT" not in os.environ


def test_a_spawned_interpreter_starts_with_its_environment() -> None:
    import shoal

    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    results = [run(shoal.get_context("spawn"), tell_environment, env=environment)[2] for _ in range(2)]
    assert results[0] == results[1] != hash("a word")


def test_cpus_and_niceness_are_those_asked_for(context: Any) -> None:
    cpu = max(os.sched_getaffinity(0))
    niceness = os.getpriority(os.PRIO_PROCESS, 0) + 3
    assert run(context, tell_cpus_and_niceness, cpu_affinity=[cpu], nice=niceness) == ({cpu}, niceness)


def test_the_environment_itself_and_an_iterator_of_cpus_can_be_passed(context: Any, tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    out = context.Queue()
    child = context.Process(
        target=tell_cpus_and_niceness,
        args=(out,),
        env=os.environ,
        cpu_affinity=(one for one in [cpu]),
        cwd=tmp_path / "later",
    )
    with pytest.raises(FileNotFoundError):
        child.start()
    (tmp_path / "later").mkdir()
    child.start()  # with the same again
    assert out.get(timeout=30)[0] == {cpu}
    child.join()


def test_memory_beyond_the_limit_is_a_memory_error(context: Any) -> None:
    assert run(context, allocate, 16 << 20, max_memory=LIMIT) == 16 << 20
    assert run(context, allocate, 2 * LIMIT, max_memory=LIMIT) == f"MemoryError, limit {LIMIT}"


def test_shared_memory_is_not_counted(context: Any) -> None:
    import shoal

    array = shoal.RawArray("b", 2 * LIMIT)
    child = context.Process(target=array.__setitem__, args=(2 * LIMIT - 1, 1), max_memory=LIMIT)
    child.start()
    child.join()
    assert (child.exitcode, array[2 * LIMIT - 1]) == (0, 1)


def test_a_chosen_name_is_what_ps_shows(context: Any) -> None:
    assert run(context, tell_name, name="a rather long name") == "a rather long n\n"
    assert run(context, tell_name, name="größe") == "größe\n"


def test_a_name_that_nobody_chose_is_not_shown(context: Any) -> None:
    assert "Process" not in run(context, tell_name)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"cwd": "/no/such/folder"}, FileNotFoundError, "/no/such/folder"),
        ({"cwd": "/proc/self/status"}, NotADirectoryError, "/proc/self/status"),
        ({"env": {"A=B": "C"}}, ValueError, "illegal environment variable name"),
        ({"env": {"A": "B\0"}}, ValueError, "null byte"),
        ({"cpu_affinity": []}, ValueError, "empty"),
        ({"cpu_affinity": [0, 4000]}, ValueError, "4000"),
        ({"cpu_affinity": [-1]}, ValueError, "-1"),
        ({"nice": "very"}, TypeError, "very"),
        ({"max_memory": 4096}, ValueError, "max_memory=4096 is too little"),
        ({"max_memory": -1}, ValueError, "max_memory is -1"),
        ({"nice": 1 << 40}, ValueError, "from -20 to 19"),
        ({"nice": 20}, ValueError, "from -20 to 19"),
        ({"max_memory": 1 << 70}, ValueError, "expected a number"),
    ],
)
@pytest.mark.usefixtures("no_leaks")
def test_what_cannot_be_set_makes_start_fail(context: Any, settings: Any, error: Any, message: str) -> None:
    if context.get_start_method() == "forkserver":
        run(context, tell_name)  # the server's own descriptor is no leak
    out = context.Queue()
    child = context.Process(target=tell_name, args=(out,), **settings)
    with pytest.raises(error, match=message):
        child.start()
    assert child.pid is None
    assert out.empty()
    out.close()


def test_only_the_privileged_may_lower_niceness(run: Any) -> None:
    ended = run(
        "-c",
        "import os, shoal\n"
        "first = shoal.Process(nice=19); first.start(); first.join()\n"  # all is imported
        "if os.geteuid() == 0: os.setresuid(65534, 65534, 65534)\n"
        "child = shoal.Process(target=print, args=('ran',), nice=os.getpriority(os.PRIO_PROCESS, 0) - 1)\n"
        "try: child.start()\n"
        "except PermissionError as error: print(error)\n",
    )
    assert "setting nice=" in ended.out, ended
    assert "ran" not in ended.out


def test_a_process_that_failed_to_start_can_be_started_again(context: Any, tmp_path: Path) -> None:
    out = context.Queue()
    child = context.Process(target=tell_working_directory, args=(out,), cwd=tmp_path / "later")
    with pytest.raises(FileNotFoundError):
        child.start()
    (tmp_path / "later").mkdir()
    child.start()
    assert out.get(timeout=30) == str(tmp_path / "later")
    child.join()

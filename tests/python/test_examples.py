"""The examples do what they say; the ones in the README too."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples_support import EXAMPLES, ROOT, cpp_example

CENSUS = str(EXAMPLES / "source_census.py")

DOCUMENTS = [ROOT / "README.md", EXAMPLES / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture
def tree(program: Callable[..., Path]) -> Path:
    """A folder of Python files, among them some that cannot be parsed and some that do not count."""
    program("import os\nimport sys, json\n\nclass A:\n    def one(self):\n        return one()\n", "tree/a.py")
    program("from os import path\nfrom . import a\n\nasync def two():\n    pass\n    one()\ntwo()", "tree/deep/b.py")
    program("def one():\n    pass\n", "tree/deep/c.py")
    program("", "tree/empty.py")
    program("print 'an older Python'\n", "tree/old.py")
    program("import os\n", "tree/site-packages/other.py")
    program("import os\n", "tree/text.txt")
    folder = program("a\0b\n", "tree/binary.py").parent
    for number in range(30):
        program(f"import os\n\n\ndef function_{number}():\n    function_{number}()\n", f"tree/many/f{number}.py")
    return folder


def census(run: Callable[..., Any], folder: Path, *before: str, options: tuple[str, ...] = ()) -> Any:
    ended = run(*before, CENSUS, str(folder), "--json", "/dev/stdout", *options)
    assert ended.status == 0, ended
    assert ended.err == "", ended
    return json.loads(ended.out)


def test_the_census_counts_what_is_there(run: Callable[..., Any], tree: Path) -> None:
    report = census(run, tree, options=("--serial",))
    assert report == {
        "files": 36,
        "unparsable": ["binary.py", "old.py"],
        "lines": 6 + 7 + 2 + 0 + 1 + 1 + 30 * 5,
        "functions": 3 + 30,
        "classes": 1,
        "imports": 4 + 30,
        "longest": [3, "deep/b.py", 4, "two"],
        "most imported": [["os", 32], ["json", 1], ["sys", 1]],
        # `one` is defined twice, so nobody knows which of the two is called.
        "most called": [
            [name, 1] for name in ("function_0", "function_1", "function_10", "function_11", "function_12")
        ],
    }


@pytest.mark.parametrize("workers", ["1", "3"])
def test_the_census_is_the_same_serially_with_the_standard_library_and_with_shoal(
    run: Callable[..., Any], tree: Path, workers: str
) -> None:
    expected = census(run, tree, options=("--serial",))
    assert census(run, tree, options=("--workers", workers)) == expected
    assert census(run, tree, "-m", "shoal", options=("--workers", workers)) == expected


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_the_census_runs_with_every_start_method(
    run: Callable[..., Any], program: Callable[..., Path], tree: Path, method: str
) -> None:
    expected = census(run, tree, options=("--serial",))
    program(Path(CENSUS).read_text(), "census.py")
    program(
        f"""
        import multiprocessing
        import census

        if __name__ == "__main__":
            multiprocessing.set_start_method("{method}")
            census.main()
        """
    )
    ended = run("-m", "shoal", "program.py", str(tree), "--workers", "2", "--json", "report.json")
    assert ended.status == 0, ended
    assert json.loads((tree.parent / "report.json").read_text()) == expected


def test_the_census_of_an_empty_folder_is_a_report_too(run: Callable[..., Any], tmp_path: Path) -> None:
    ended = run("-m", "shoal", CENSUS, str(tmp_path))
    assert ended.status == 0, ended
    assert "0 files" in ended.out


@pytest.mark.parametrize(("arguments", "complaint"), [(["/nowhere"], "/nowhere"), (["--workers", "0"], "--workers")])
def test_the_census_explains_wrong_arguments(run: Callable[..., Any], arguments: list[str], complaint: str) -> None:
    ended = run("-m", "shoal", CENSUS, *arguments)
    assert ended.status == 2
    assert complaint in ended.err


def test_its_cpp_sibling_finds_the_same_files_and_lines(run: Callable[..., Any], tree: Path) -> None:
    report = census(run, tree, options=("--serial",))
    out = subprocess.run([cpp_example("source_census"), tree], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.splitlines()[:2] == [f"{report['files']} files", f"{report['lines']} lines"]


def test_its_cpp_sibling_says_which_folder_it_did_not_find() -> None:
    ended = subprocess.run(
        [cpp_example("source_census"), "/nowhere"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert "/nowhere" in ended.stderr


def test_no_leased_job_is_lost_though_workers_are_killed(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "leased_jobs.py"), "2000")
    assert ended.status == 0, ended
    done, killed = ended.out.splitlines()
    assert done == "2000 jobs done, 303 of the numbers are prime"
    assert int(killed.partition(" workers were killed")[0]) > 0


def test_asyncio_jobs_are_done_while_the_loop_runs(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "asyncio_jobs.py"), "300")
    assert ended.status == 0, ended
    assert ended.err == ""
    assert ended.out.startswith("300 powers of 3; the largest sum of digits is 720, of 3**288\n"), ended


def test_the_executor_s_example_loses_only_the_calls_whose_workers_die(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "executor_jobs.py"), "3000")
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out.splitlines() == [
        "430 primes up to 3000; calls that were lost: [1000, 2000, 3000]",
        "[0, 1, 4, 9, 16] of an endless map",
    ]


def test_the_pool_works_for_an_event_loop(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "asyncio_pool.py"))
    assert (ended.status, ended.err) == (0, ""), ended
    most, first, over, on = ended.out.splitlines()
    assert most == "up to 1000, 871 takes the most steps: 178"
    assert first == "6171 is the first that takes more than 250 steps"
    assert over.startswith("an hour of sleep was ended within")
    assert on == "the pool goes on: 111"


def test_the_kept_pool_counts_primes(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "kept_pool.py"))
    assert (ended.status, ended.err) == (0, ""), ended
    assert [int(line.split()[0]) for line in ended.out.splitlines()[:-1]] == [25, 21, 16, 16, 17]


def test_joblib_s_example_runs_on_shoal(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "joblib_jobs.py"))
    assert (ended.status, ended.err) == (0, ""), ended
    assert ended.out == "10000 lines, 70000 words, 278890 letters\n"


def test_the_accounts_are_right_though_their_lock_s_holder_was_killed(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "killed_holder.py"))
    assert ended.status == 0, ended
    first, second, told, found = ended.out.splitlines()
    assert (first, second) == ("a child ended with 0", "a child ended with -9")
    assert "SIGKILL" in told
    assert found == "checking 700, savings 300"


def test_the_accounts_of_its_cpp_sibling_are_right_too() -> None:
    out = subprocess.run([cpp_example("killed_holder")], capture_output=True, text=True, check=True, timeout=60).stdout
    first, second, told, found = out.splitlines()
    assert first == "the first child exited with code 0"
    assert "SIGKILL" in second
    assert "has ended while it held the mutex 'accounts'" in told
    assert found == "checking 700, savings 300"


def test_stubborn_jobs_are_all_over_in_the_end(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "stubborn_jobs.py"))
    assert ended.status == 0, ended
    assert ended.out.splitlines() == [
        "a job that hangs: TaskTimeoutError",
        "a job that crashes: WorkerDied",
        "a job that fails twice: done at attempt 3",
        "a job that was cancelled: CancelledError",
        "and then: 6",
    ]


def test_an_endless_search_ends_when_enough_was_found(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "endless_search.py"), "3")
    assert ended.status == 0, ended
    assert ended.out == "the first primes after a thousand million: 1000000007, 1000000009, 1000000021\n"
    assert "imap(prime_or_none)" in ended.err


def test_workers_put_away_what_they_have_opened(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "worker_state.py"), "500")
    assert ended.status == 0, ended
    seen = [int(number) for number in re.findall(r"^worker [01] has seen (\d+) numbers$", ended.out, re.MULTILINE)]
    assert sum(seen) == 500
    assert "\n50 tasks\n" in ended.out
    assert re.search(r"^ *worker +pid +tasks +busy +idle", ended.out, re.MULTILINE)


def test_memory_beyond_the_limit_is_refused(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "memory_limit.py"))
    assert ended.status == 0, ended
    assert ended.out.splitlines() == ["10 MiB of zeros", "1024 MiB are too much", "100 MiB of zeros"]


def test_nested_pools_make_a_table(run: Callable[..., Any]) -> None:
    ended = run(str(EXAMPLES / "nested_pools.py"))
    assert ended.status == 0, ended
    table = [[int(cell) for cell in line.split()] for line in ended.out.splitlines()]
    assert table == [[sum(range(row * column)) for column in range(6)] for row in range(4)]


def test_images_are_smoothed_in_workers(run: Callable[..., Any]) -> None:
    pytest.importorskip("numpy")
    ended = run(str(EXAMPLES / "array_jobs.py"))
    assert ended.status == 0, ended
    assert ended.out == "8 images of 8 MB: deviation 0.29 before, 0.13 after\n"


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"\[`(\w+\.\w+)`\]", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".cpp")}


def test_the_readmes_python_examples_run_and_print_what_it_says(run: Callable[..., Any], program: Any) -> None:
    readme = (ROOT / "README.md").read_text()
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", readme, re.DOTALL)
    assert examples, "the README has no Python example that is followed by its output"
    for source, output in examples:
        program(source)
        ended = run("program.py")
        assert ended.status == 0, ended
        assert without_numbers(ended.out) == without_numbers(output)


def test_the_readme_says_which_names_are_shoals(run: Callable[..., Any]) -> None:
    readme = (ROOT / "README.md").read_text()
    (sentence,) = re.findall(r"^Shoal's own are at present (.*?)\. ", readme, re.MULTILINE | re.DOTALL)
    status = run("-m", "shoal", "--status").out
    assert sorted(re.findall(r"`(\w+)`", sentence)) == sorted(re.findall(r"^  (\w+) +shoal$", status, re.MULTILINE))


def without_numbers(text: str) -> str:
    return re.sub(r"worker \d+ \(pid \d+\)", "worker N (pid N)", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing

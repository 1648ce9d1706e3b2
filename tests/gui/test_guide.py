"""What the guide to event loops quotes is what the examples do."""

from __future__ import annotations

import re

import pytest
from programs import COUNTERS, ROOT

GUIDE = ROOT / "docs/event-loops.md"

# Each quotation follows a paragraph that links to the file it is from.
QUOTATIONS = re.findall(
    r"\]\(\.\./(examples/counter/[^)]+)\)[^\[]*?\n\n?```\w+\n(.*?)```", GUIDE.read_text(), re.DOTALL
)


def without_indentation(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def test_every_block_of_code_names_its_file() -> None:
    assert len(QUOTATIONS) == len(re.findall(r"^```\w", GUIDE.read_text(), re.MULTILINE))


@pytest.mark.parametrize(("file", "code"), QUOTATIONS, ids=[file.rpartition("/")[2] for file, _ in QUOTATIONS])
def test_what_the_guide_quotes_is_in_the_example(file: str, code: str) -> None:
    source = without_indentation((ROOT / file).read_text())
    for part in code.split("\n\n"):
        assert without_indentation(part) in source, part


def test_every_example_is_named_by_the_guide() -> None:
    named = set(re.findall(r"\]\(\.\./examples/counter/([^)]+)\)", GUIDE.read_text()))
    assert named | {"flood.py"} == {path.name for path in COUNTERS.iterdir() if path.suffix in (".py", ".cpp")}

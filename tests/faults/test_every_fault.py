"""Every fault has a test that causes it, and docs/reliability.md names that test."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
FAULTS = set(range(1, 24))


def marks(path: Path) -> Iterator[int]:
    """The numbers in a file's `fault` marks."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in node.args)


def caused() -> dict[int, set[str]]:
    """Files by the faults that their tests cause."""
    found = defaultdict(set)
    for folder in ("faults", "gpu"):
        for path in sorted((ROOT / "tests" / folder).glob("test_*.py")):
            for number in marks(path):
                found[number].add(path.relative_to(ROOT).as_posix())
    return found


def described() -> dict[int, set[str]]:
    """Test files by the numbers of the page's rows."""
    section = PAGE.read_text(encoding="utf-8").partition("## The 23 faults")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", section, re.MULTILINE)
    return {int(number): set(re.findall(r"\(\.\./(tests/[\w/]+\.py)\)", tests)) for number, tests in rows}


def test_each_fault_is_caused_by_a_test() -> None:
    assert set(caused()) == FAULTS


def test_the_page_names_each_fault_and_the_tests_that_cause_it() -> None:
    page = described()
    assert set(page) == FAULTS
    known = caused()
    for number, files in page.items():
        assert files == known.get(number, set()), f"fault {number}"

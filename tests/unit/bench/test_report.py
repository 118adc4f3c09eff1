"""Results become tables and a page."""

from pathlib import Path

import pytest

from bench import machine, report
from bench.section import Section, Table, parse, ratio, seconds

MACHINE = {"processor": "EPYC", "flags": "", "cores": 2}
TABLE = Table(("network", "s"), [["`compact`", "0.050"], ["`vgg19`", "0.7"]])
SECTION = Section("An evaluation", "python -m bench.evaluations", "\nWords.\n", MACHINE, [TABLE], {"a": [1]})


def test_a_table_is_padded_for_a_terminal_and_ruled_for_a_page() -> None:
    assert TABLE.text() == "network    s\n`compact`  0.050\n`vgg19`    0.7"
    assert TABLE.markdown() == "| network | s |\n| --- | --- |\n| `compact` | 0.050 |\n| `vgg19` | 0.7 |"


def test_a_section_comes_back_from_its_json() -> None:
    assert parse(SECTION.json()).markdown() == SECTION.markdown()
    assert parse(SECTION.json()).figures == {"a": [1]}


def test_the_page_has_the_machine_once_and_every_section() -> None:
    other = Section("L-BFGS", "python -m bench.lbfgs", "More.", MACHINE, [TABLE])
    page = report.page([SECTION, other])
    assert page.count("processor EPYC; cores 2") == 1
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "# Benchmarks",
        "## An evaluation",
        "## L-BFGS",
        "## On a GPU",
        "## Other figures",
    ]
    assert page.count(TABLE.markdown()) == 2
    assert "`python -m bench.lbfgs`\n\nMore.\n" in page


def test_a_section_from_another_machine_or_day_says_so() -> None:
    old = Section("L-BFGS", "python -m bench.lbfgs", "More.", MACHINE | {"cores": 64}, [TABLE])
    page = report.page([SECTION, old])
    assert "## L-BFGS\n\nTaken on: processor EPYC; cores 64\n\n`python -m bench.lbfgs`" in page


def test_a_command_is_told_without_this_machines_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "x --json --threads 2 --size 512 --peers /home/me/peers --pairs /a/b.jpg:/c/d.jpg --plot /e.svg"
    monkeypatch.setattr("sys.argv", given.split())
    assert machine.command("bench.x") == "python -m bench.x --size 512 --peers DIR --pairs b.jpg:d.jpg"


def test_quick_figures_do_not_reach_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bench", "--quick"])
    with pytest.raises(SystemExit):
        report.main()


@pytest.mark.parametrize(
    ("value", "said"), [(0.0123, "0.012"), (0.05, "0.050"), (1.234, "1.23"), (None, "-")]
)
def test_ratios_keep_the_digits_that_matter(value: float | None, said: str) -> None:
    assert ratio(value) == said


def test_seconds_keep_the_digits_that_matter() -> None:
    assert (seconds(0.01234), seconds(123.456)) == ("0.012", "123.5")


def test_every_benchmark_is_a_file() -> None:
    for bench in report.BENCHES:
        assert (Path(report.__file__).parent / f"{bench.module or bench.name}.py").is_file()

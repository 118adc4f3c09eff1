"""`make test` fails when any part of the suite does, leaves none out, and shows what all have said."""

import os
import sys
from pathlib import Path

import pytest

from tests import __main__ as whole
from tests.__main__ import Part


def python(name: str, code: str, *, gives_way: bool = False) -> Part:
    return Part(name, [sys.executable, "-c", code], gives_way)


@pytest.mark.parametrize("statuses", [(0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3), (1, 2, 3)])
def test_each_part_has_its_status(statuses: tuple[int, int, int], capfd: pytest.CaptureFixture[str]) -> None:
    parts = [python(f"{n}", f"print('part {n}'); raise SystemExit({n})") for n in statuses]
    assert whole.side_by_side(parts) == list(statuses)
    said = capfd.readouterr().out
    assert [said.count(f"part {n}") for n in set(statuses)] == [statuses.count(n) for n in set(statuses)]


def test_the_parts_run_at_once_and_some_give_way(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("first", "second", "third")

    def meeting(me: str, *, gives_way: bool = False) -> Part:
        """Ends only once all the others have begun."""
        code = f"""if True:
            import os, pathlib, time
            here = pathlib.Path({str(tmp_path)!r})
            (here / {me!r}).touch()
            while not all((here / name).exists() for name in {names!r}):
                time.sleep(0.02)
            print({me!r}, os.nice(0))
            """
        return python(me, code, gives_way=gives_way)

    parts = [meeting("first"), meeting("second", gives_way=True), meeting("third")]
    assert whole.side_by_side(parts) == [0, 0, 0]
    usual = os.nice(0)
    given_way = min(usual + whole.NICENESS, 19)
    assert capfd.readouterr().out.splitlines() == [f"first {usual}", f"second {given_way}", f"third {usual}"]


@pytest.mark.parametrize("statuses", [(0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3)])
def test_the_whole_fails_when_a_part_does(
    statuses: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests"])
    monkeypatch.setattr(whole, "side_by_side", lambda _: statuses)
    assert bool(whole.main()) is any(statuses)
    assert capsys.readouterr().out.count("FAILED") == sum(map(bool, statuses))


def test_what_one_part_leaves_out_others_take() -> None:
    whole_part = next(
        part for part in whole.PARTS if any(word.startswith("--ignore=") for word in part.command)
    )
    left_out = {word.removeprefix("--ignore=") for word in whole_part.command if word.startswith("--ignore=")}
    taken = {word for part in whole.PARTS for word in part.command if word.startswith("tests/")}
    assert left_out == taken

"""`make test` fails when either half of it does, and shows what both have said."""

import os
import sys
from pathlib import Path

import pytest

from tests import __main__ as whole


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("statuses", [(0, 0), (1, 0), (0, 2), (1, 2)])
def test_each_half_has_its_status(statuses: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    aside, ahead = (python(f"print('half {n}'); raise SystemExit({n})") for n in statuses)
    assert whole.side_by_side(aside, ahead) == statuses
    said = capfd.readouterr().out
    assert [said.count(f"half {n}") for n in set(statuses)] == [statuses.count(n) for n in set(statuses)]


def test_the_halves_run_at_once_and_the_one_gives_way(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def meeting(me: str, other: str) -> list[str]:
        """Ends only once the other one has begun."""
        return python(
            f"""if True:
            import os, pathlib, time
            pathlib.Path({str(tmp_path / me)!r}).touch()
            while not os.path.exists({str(tmp_path / other)!r}):
                time.sleep(0.02)
            print({me!r}, os.nice(0))
            """
        )

    assert whole.side_by_side(meeting("aside", "ahead"), meeting("ahead", "aside")) == (0, 0)
    usual = os.nice(0)
    given_way = min(usual + whole.NICENESS, 19)
    assert capfd.readouterr().out.splitlines() == [f"ahead {usual}", f"aside {given_way}"]


@pytest.mark.parametrize("statuses", [(0, 0), (1, 0), (0, 2)])
def test_the_whole_fails_when_a_half_does(
    statuses: tuple[int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests"])
    monkeypatch.setattr(whole, "side_by_side", lambda *_: statuses)
    assert bool(whole.main()) is any(statuses)
    assert capsys.readouterr().out.count("FAILED") == sum(map(bool, statuses))

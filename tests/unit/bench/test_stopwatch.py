"""Measuring takes no time, and a pace leaves out what precedes it."""

import pytest

from bench import stopwatch
from bench.stopwatch import Mark, Stopwatch, pace


def test_time_inside_a_pause_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    clock = Stopwatch()
    now[0] += 2
    with clock.paused():
        now[0] += 50
    now[0] += 1
    assert clock.seconds() == 3


def test_a_pace_is_taken_between_the_first_and_the_last_mark() -> None:
    assert pace([Mark(1, 10.0), Mark(2, 10.5), Mark(5, 12.0)]) == 0.5


@pytest.mark.parametrize("marks", [[], [Mark(1, 1.0)], [Mark(1, 1.0), Mark(1, 2.0)]])
def test_a_pace_needs_two_evaluations(marks: list[Mark]) -> None:
    with pytest.raises(ValueError, match="two evaluations"):
        pace(marks)

"""A budget for waiting: what counts, what is left, and doubt about a server that did not answer."""

import time

import pytest

from shared import patience
from shared.patience import Doubt, left, waiting


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


class Clock:
    now = 100.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


def test_without_a_budget_a_wait_may_take_all_it_was_given(clock: Clock) -> None:
    with waiting():
        clock.passes(5)
        assert left(2.0) == 2.0


def test_only_waiting_uses_a_budget_up(clock: Clock) -> None:
    with patience.patience(1.5):
        clock.passes(10)
        assert left(2.0) == 1.5
        assert left(1.0) == 1.0
        with waiting():
            clock.passes(1)
            assert left(2.0) == pytest.approx(0.5)
        clock.passes(10)
        with waiting():
            assert left(2.0) == pytest.approx(0.5)
            clock.passes(1)
            assert left(2.0) == 0
        assert left(2.0) == 0
    assert left(2.0) == 2.0


def test_a_wait_within_a_wait_counts_once(clock: Clock) -> None:
    with patience.patience(1.5), waiting():
        with waiting():
            clock.passes(0.5)
        assert left(2.0) == pytest.approx(1.0)


def test_after_a_wait_in_vain_others_wait_briefly_until_an_answer_comes(clock: Clock) -> None:
    doubt = Doubt()
    with patience.patience(1.5):
        assert doubt.limit(1.0) == 1.0
        doubt.in_vain()
        assert doubt.limit(1.0) == patience.DOUBTFUL_SECONDS
        doubt.answered()
        assert doubt.limit(1.0) == 1.0
        doubt.in_vain()
        clock.passes(patience.DOUBT_SECONDS / 2)
        doubt.in_vain()  # a brief wait is no new reason: a slow server must get its chance
        clock.passes(patience.DOUBT_SECONDS / 2)
        assert doubt.limit(1.0) == 1.0


def test_who_has_no_budget_does_not_doubt(clock: Clock) -> None:  # noqa: ARG001 - time stands still
    doubt = Doubt()
    doubt.in_vain()
    with patience.patience(1.5):
        assert doubt.limit(1.0) == 1.0
        doubt.in_vain()
    assert doubt.limit(1.0) == 1.0

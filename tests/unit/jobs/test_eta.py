"""The arithmetic of forecasts."""

import pytest

from shared.jobs.eta import (
    EXACT,
    Cost,
    Fit,
    Forecast,
    Line,
    Pace,
    Running,
    cost_of,
    free_in,
    in_order,
    place_among_all,
    place_of,
    remaining,
    work_of,
)
from shared.spec import Spec

OWN = Cost("own", 3.0)


def line(owner: str, *costs: float, lane: str = "paint.compact", size: int | None = None) -> Line:
    sample = [(rank, Cost(owner, seconds)) for rank, seconds in enumerate(costs)]
    return Line(lane, owner, len(costs) if size is None else size, sample)


def alone(*seconds: float) -> list[tuple[int, Cost]]:
    """Jobs that are painted one by one, at the first places."""
    return [(place, Cost(f"b{place}", each)) for place, each in enumerate(seconds, start=1)]


def ends_in(free: list[float], waiting: list[tuple[int, Cost]], place: int, own: Cost) -> float | None:
    return Forecast(free, waiting).ends_in(place, own)


def test_with_nothing_before_it_a_job_takes_what_it_takes() -> None:
    assert ends_in([0.0], [], 1, OWN) == 3.0


def test_a_job_waits_for_what_is_being_painted_and_for_what_stands_before_it() -> None:
    assert ends_in([2.0], alone(5.0, 1.0), 3, OWN) == 2.0 + 5.0 + 1.0 + 3.0


def test_what_stands_behind_it_does_not_count() -> None:
    assert ends_in([0.0], [(1, Cost("x", 5.0)), (3, Cost("y", 100.0))], 2, OWN) == 8.0


def test_the_painter_that_is_free_first_takes_the_next() -> None:
    # The first paints 10 s; the second takes both short ones and then the job.
    assert ends_in([0.0, 0.0], alone(10.0, 2.0, 2.0), 4, OWN) == 2.0 + 2.0 + 3.0


def test_without_painters_nothing_is_foretold() -> None:
    assert ends_in([], [], 1, OWN) is None


def test_jobs_that_are_painted_together_end_together() -> None:
    batch = Cost("same", 2.0, batch=3.0)
    waiting = [(1, batch), (2, Cost("other", 50.0)), (3, batch)]
    assert ends_in([0.0], waiting, 4, batch) == 3 * 2.0
    assert ends_in([0.0], waiting, 2, Cost("other", 50.0)) == 3 * 2.0 + 50.0 - 2.0


def test_far_behind_the_backlog_is_shared_by_the_painters() -> None:
    waiting = [*alone(*[1.0] * EXACT), *((place, Cost("far", 4.0)) for place in range(70, 1000, 10))]
    near, far = EXACT * 1.0, (1000 - 1 - EXACT) * 4.0
    assert ends_in([0.0, 0.0], waiting, 1000, OWN) == pytest.approx((near + far) / 2 + 3.0)


def test_only_those_before_it_stand_for_what_is_before_it() -> None:
    cheap = [(place, Cost("cheap", 1.0)) for place in range(70, 200, 10)]
    dear = [(place, Cost("dear", 100.0)) for place in range(200, 400, 10)]
    waiting = [*alone(*[1.0] * EXACT), *cheap, *dear]
    assert ends_in([0.0], waiting, 200, OWN) == pytest.approx(199 * 1.0 + 3.0)


def test_owners_take_turns() -> None:
    first, second = line("ann", 1.0, 1.0, 1.0), line("bob", 1.0)
    assert [place_of([first, second], first, rank) for rank in range(3)] == [1, 3, 4]
    assert place_of([first, second], second, 0) == 2
    assert [place for place, _ in in_order([first, second])] == [1, 2, 3, 4]


def test_what_waits_in_another_lane_of_the_same_painters_counts_too() -> None:
    own, other = line("ann", 1.0, 1.0), line("bob", 1.0, 1.0, lane="paint.vgg19")
    assert place_among_all([other, own], "paint.compact", "ann", 1) == 2
    assert place_among_all([other, own], "paint.compact", "ann", 2) == 4
    assert place_among_all([own], "paint.compact", "ann", 2) == 2
    assert place_among_all([own], "paint.compact", "nobody", 7) == 7


def test_early_on_the_pace_counts_and_later_the_steps() -> None:
    cost = Cost("b", 10.0)
    assert remaining(Running("w", 0.0, 0.0, cost)) == 10.0
    assert remaining(Running("w", 4.0, 0.0, cost)) == 6.0
    assert remaining(Running("w", 9.0, 0.9, None)) == pytest.approx(1.0)
    assert remaining(Running("w", 9.0, 0.9, Cost("b", 20.0))) == pytest.approx(0.1 * 11.0 + 0.9 * 1.0)
    assert remaining(Running("w", 30.0, 0.0, cost)) == 0.0
    assert remaining(Running("w", 5.0, 0.0, None)) == 0.0


def test_what_is_painted_with_others_takes_as_long_as_all_of_them() -> None:
    # However many were painted together lately.
    cost = Cost("b", 10.0, batch=2.0)
    assert remaining(Running("w", 4.0, 0.0, cost, together=3)) == 26.0
    assert remaining(Running("w", 4.0, 0.0, cost)) == 6.0


def test_the_batches_that_are_being_painted_now_tell_how_many_are_painted_together() -> None:
    alone = Pace(1, 2.0, 1.0)
    assert alone.beside([]) == alone
    assert alone.beside([3]) == Pace(1, 2.0, (1 * 1 + 3 * 3) / 4)
    assert Pace(8, 2.0, 4.0).beside([4, 4]) == Pace(8, 2.0, 4.0)


def test_a_painter_is_free_when_the_last_of_its_jobs_ends() -> None:
    cost = Cost("b", 10.0)
    running = [Running("one", 4.0, 0.0, cost), Running("one", 2.0, 0.0, cost)]
    assert free_in(["one", "two"], running) == [8.0, 0.0]


def test_a_bucket_that_was_seen_is_judged_by_itself_and_another_by_its_work() -> None:
    fit = Fit(
        n=2, x=3.0, y=7.0, xx=5.0, xy=12.0
    )  # through (1, 2) and (2, 5)... slope 3, base -1: not believed
    line_through = Fit(n=2, x=3.0, y=9.0, xx=5.0, xy=15.0)  # (1, 3) and (2, 6): 3 a unit
    lane, seen = Pace(8, 4.0, 2.0), {"seen": Pace(3, 1.5, 1.0)}
    assert cost_of("seen", 9.0, seen, lane, line_through) == Cost("seen", 1.5, 1.0)
    assert cost_of("new", 4.0, seen, lane, line_through) == Cost("new", 12.0, 2.0)
    assert cost_of("new", 3.0, seen, lane, fit) == Cost("new", 7.0, 2.0)
    assert cost_of("", None, seen, lane, fit) == Cost("", 4.0, 2.0)
    assert cost_of("new", 4.0, {}, None, None) is None


def test_jobs_of_one_size_only_tell_of_others_in_proportion() -> None:
    assert Fit(n=3, x=6.0, y=9.0, xx=12.0, xy=18.0).seconds(4.0) == 6.0


def test_a_base_and_a_slope_are_told_apart() -> None:
    points = [(1.0, 5.0), (3.0, 9.0), (10.0, 23.0)]  # 3 + 2 x
    fit = Fit(
        n=3,
        x=sum(x for x, _ in points),
        y=sum(y for _, y in points),
        xx=sum(x * x for x, _ in points),
        xy=sum(x * y for x, y in points),
    )
    assert fit.seconds(6.0) == pytest.approx(15.0)


def test_work_is_pixels_of_the_painting_times_steps() -> None:
    assert work_of(Spec(size=512, steps=100), 2048, 1024) == pytest.approx(512 * 256 * 100 / 1e6)


@pytest.mark.parametrize("text", [None, "", "1 2", "1 2 3 4"])
def test_what_is_not_a_pace_is_none(text: str | None) -> None:
    assert Pace.parse(text) is None
    assert Fit.parse(text) is None

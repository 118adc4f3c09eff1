from itertools import pairwise

import pytest

from worker.engine.pyramid import SMALLEST_LEVEL, plan


def test_levels_double_up_to_the_size_and_spend_all_evaluations() -> None:
    levels = plan(size=512, steps=256, levels=3)
    assert [level.longest for level in levels] == [128, 256, 512]
    assert levels[-1].end == 256


def spent(size: int, steps: int, levels: int) -> list[int]:
    ends = [0, *(level.end for level in plan(size, steps, levels))]
    return [after - before for before, after in pairwise(ends)]


def test_finer_levels_have_more_evaluations_up_to_the_size_where_most_is_settled() -> None:
    assert spent(512, 320, 0) == sorted(spent(512, 320, 0))


def test_levels_of_large_pictures_have_fewer_the_larger_they_are() -> None:
    levels = spent(4096, 480, 0)
    assert levels[3:] == sorted(levels[3:], reverse=True)
    assert levels[-1] < 30


def test_left_open_the_levels_begin_near_128_pixels_at_every_size() -> None:
    for size in (96, 128, 200, 512, 777, 1024, 8192):
        assert 96 <= plan(size, 320, 0)[0].longest < 192


def test_the_content_counts_more_the_smaller_the_picture_is_below_the_size_where_most_is_settled() -> None:
    assert [level.content for level in plan(512, 320, 0)] == [256, 64, 1]
    assert [level.content for level in plan(1280, 320, 0)] == [256, 64, 1, 1]
    assert [level.content for level in plan(2048, 320, 2)] == [1, 1]
    assert [level.content for level in plan(200, 320, 1)] == [1]


@pytest.mark.parametrize("size", [640, 900, 1279])
def test_a_pixel_more_changes_little(size: int) -> None:
    for one, more in zip(plan(size, 320, 4), plan(size + 1, 320, 4), strict=True):
        assert more.content == pytest.approx(one.content, rel=0.02)
        assert abs(more.end - one.end) <= 2


def test_levels_that_would_be_too_small_are_left_out() -> None:
    assert [level.longest for level in plan(size=200, steps=100, levels=8)] == [100, 200]
    assert [level.longest for level in plan(size=16, steps=100, levels=8)] == [16]


@pytest.mark.parametrize("size", [16, 64, 127, 128, 1000, 4096])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("levels", [1, 2, 8])
def test_every_level_has_an_evaluation_and_none_is_lost(size: int, steps: int, levels: int) -> None:
    planned = plan(size, steps, levels)
    ends = [0, *(level.end for level in planned)]
    assert all(after > before for before, after in pairwise(ends))
    assert planned[-1].end == steps
    assert planned[-1].longest == size
    assert len(planned) <= levels
    assert len(planned) == 1 or planned[0].longest >= SMALLEST_LEVEL

from itertools import pairwise

import pytest

from worker.engine.pyramid import SMALLEST_LEVEL, plan


def test_levels_double_up_to_the_size_and_spend_all_evaluations() -> None:
    levels = plan(size=512, steps=430, levels=3)
    assert [level.longest for level in levels] == [128, 256, 512]
    assert levels[-1].end == 430


def test_coarse_levels_have_more_evaluations_than_fine_ones() -> None:
    ends = [0, *(level.end for level in plan(size=512, steps=430, levels=3))]
    spent = [after - before for before, after in pairwise(ends)]
    assert spent == sorted(spent, reverse=True)


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

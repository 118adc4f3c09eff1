"""What both optimisers promise: each picture of a batch on its own, undone steps, states."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.descent import descend, evaluate, start, valley
from worker.engine import lbfgs
from worker.engine.adam import Adam
from worker.engine.lbfgs import LBFGS
from worker.engine.optimizers import GROWTH, MOST_EXPLOSIONS, MOST_REJECTIONS, Optimizer

Make = Callable[[Tensor], Optimizer]
BOTH = pytest.mark.parametrize("make", [LBFGS, Adam])


@BOTH
def test_the_floor_of_a_valley_is_found(make: Make) -> None:
    before = float(valley(start()))
    met = descend(make(start()), valley, 150)
    assert float(valley(met[-1])) < before / 1000


@BOTH
def test_a_batch_goes_where_its_pictures_go_alone(make: Make) -> None:
    # Few steps: a batch's sums are ordered otherwise, and the last digit's difference grows tenfold a step.
    together = descend(make(start(3)), valley, 8)
    for item in range(3):
        alone = descend(make(start(3)[item : item + 1].clone()), valley, 8)
        for whole, part in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[item : item + 1], part, rtol=1e-4, atol=1e-5)


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e6])
def test_what_one_picture_meets_does_not_reach_the_others(make: Make, bad: float) -> None:
    quiet, struck = make(start(3)), make(start(3))
    for step in range(14):
        quiet.step(*evaluate(valley, quiet.x))
        losses, gradient = evaluate(valley, struck.x)
        if step in (0, 3, 9, 10):
            losses[1] *= bad
            gradient[1] *= bad
        struck.step(losses, gradient)
        assert torch.equal(quiet.x[[0, 2]], struck.x[[0, 2]]), step
    assert not torch.equal(quiet.x[1], struck.x[1])
    assert bool(torch.isfinite(struck.x).all())


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_few_values_that_are_not_numbers_are_survived(make: Make, bad: float) -> None:
    optimizer = make(start())
    descend(optimizer, valley, 5)
    for _ in range(MOST_EXPLOSIONS):
        optimizer.step(torch.tensor([bad]), torch.full_like(optimizer.x, bad))
    assert optimizer.rejections.tolist() == [MOST_EXPLOSIONS]
    assert not optimizer.lost.any()
    assert bool(torch.isfinite(optimizer.x).all())
    met = descend(optimizer, valley, 100)
    assert min(float(valley(x)) for x in met) < float(valley(start())) / 100


@BOTH
def test_a_bad_gradient_alone_is_noticed(make: Make) -> None:
    optimizer = make(start())
    descend(optimizer, valley, 3)
    _, gradient = evaluate(valley, optimizer.x)
    gradient[0, 1, 2, 3] = math.nan
    optimizer.step(torch.zeros(1), gradient)
    assert optimizer.rejections.tolist() == [1]
    assert bool(torch.isfinite(optimizer.x).all())


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_picture_that_overflowed_comes_back(make: Make, bad: float) -> None:
    optimizer = make(start(2))
    before = descend(optimizer, valley, 5)[-1]
    optimizer.x[0] = bad
    for _ in range(2):
        optimizer.step(*evaluate(valley, optimizer.x))
        assert bool(torch.isfinite(optimizer.x).all())
    assert float((optimizer.x[0] - before[0]).abs().max()) < 0.5


@BOTH
def test_each_undone_step_in_a_row_is_counted_and_a_good_one_forgives(make: Make) -> None:
    optimizer = make(start(2))
    descend(optimizer, valley, 2)
    for count in range(1, MOST_EXPLOSIONS + 2):
        losses, gradient = evaluate(valley, optimizer.x)
        losses[0] = math.nan
        optimizer.step(losses, gradient)
        assert optimizer.rejections.tolist() == [count, 0]
        assert optimizer.lost.tolist() == [count > MOST_EXPLOSIONS, False]
    descend(optimizer, valley, 1)
    assert optimizer.rejections.tolist() == [0, 0]
    assert not optimizer.lost.any()


@BOTH
def test_mere_rises_are_undone_more_often_before_a_picture_counts_as_lost(make: Make) -> None:
    optimizer = make(start(2))
    descend(optimizer, valley, 2)
    for count in range(1, MOST_REJECTIONS + 2):
        losses, gradient = evaluate(valley, optimizer.x)
        losses[0] = 3 * GROWTH * float(valley(start()))
        optimizer.step(losses, gradient)
        assert optimizer.lost.tolist() == [count > MOST_REJECTIONS, False]


@BOTH
def test_a_rise_within_bounds_is_accepted_and_a_larger_one_undone(make: Make) -> None:
    for factor, undone in ((0.99 * GROWTH, 0), (1.01 * GROWTH, 1)):
        optimizer = make(start())
        losses, gradient = evaluate(valley, optimizer.x)
        optimizer.step(losses, gradient)
        optimizer.step(factor * losses, gradient)
        assert optimizer.rejections.tolist() == [undone]


@BOTH
def test_a_bad_first_evaluation_leaves_the_picture_where_it_is(make: Make) -> None:
    optimizer = make(start())
    optimizer.step(torch.tensor([math.nan]), torch.full_like(optimizer.x, math.nan))
    torch.testing.assert_close(optimizer.x, start())


@BOTH
def test_a_gradient_of_zero_leaves_the_picture_as_it_is(make: Make) -> None:
    optimizer = make(start())
    for _ in range(3):
        optimizer.step(torch.zeros(1), torch.zeros_like(optimizer.x))
    torch.testing.assert_close(optimizer.x, start())


@BOTH
@pytest.mark.parametrize("steps", [0, 1, 2, 13])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(make: Make, steps: int) -> None:
    first = make(start(2))
    descend(first, valley, steps)
    second = make(first.x.clone())
    second.restore([first.state(item) for item in range(2)])
    for mine, other in zip(descend(first, valley, 12), descend(second, valley, 12), strict=True):
        assert torch.equal(mine, other)


@BOTH
def test_a_state_right_after_an_undone_step_restores_as_well(make: Make) -> None:
    first = make(start(2))
    descend(first, valley, 5)
    losses, gradient = evaluate(valley, first.x)
    losses[0] = math.nan
    first.step(losses, gradient)
    second = make(first.x.clone())
    second.restore([first.state(item) for item in range(2)])
    assert second.rejections.tolist() == [1, 0]
    assert torch.equal(descend(first, valley, 9)[-1], descend(second, valley, 9)[-1])


@BOTH
def test_an_empty_state_starts_afresh_beside_a_full_one(make: Make) -> None:
    first = make(start(2))
    descend(first, valley, 5)
    second = make(first.x.clone())
    second.restore([first.state(0), {}])
    fresh = make(first.x.clone())
    assert torch.equal(descend(second, valley, 1)[0][1], descend(fresh, valley, 1)[0][1])


@BOTH
def test_experience_goes_on_about_as_well(make: Make) -> None:
    # Given another memory for the second picture than for the first
    first = make(start(2))
    descend(first, valley, 12)
    losses, gradient = evaluate(valley, first.x)
    first.step(torch.where(torch.tensor([True, False]), losses, math.nan), gradient)
    second = make((first.x if make is Adam else first.accepted).clone())
    second.restore([first.experience(item) for item in range(2)])
    before = valley(first.accepted)
    undisturbed, resumed = (valley(descend(one, valley, 30)[-1]) for one in (first, second))
    assert bool((undisturbed < 0.1 * before).all())
    assert bool((resumed < 5 * undisturbed).all())


@BOTH
def test_experience_is_in_half_precision_but_for_pictures(make: Make) -> None:
    optimizer = make(start())
    assert optimizer.experience(0) == {}
    descend(optimizer, valley, 12)
    whole, part = (
        sum(one.nbytes for one in state.values() if one.shape[-1:] == (optimizer.x.numel(),))
        for state in (optimizer.state(0), optimizer.experience(0))
    )
    assert whole <= optimizer.state_bytes
    pictures = part / optimizer.x[0].nbytes
    assert pictures == (1 + 1.5 if make is Adam else lbfgs.EXPERIENCE)


@BOTH
def test_before_the_first_step_the_accepted_picture_is_the_first(make: Make) -> None:
    optimizer = make(start(2))
    assert torch.equal(optimizer.accepted, start(2))
    losses, gradient = evaluate(valley, optimizer.x)
    optimizer.step(losses, gradient)
    assert torch.equal(optimizer.accepted, start(2))
    assert not torch.equal(optimizer.x, start(2))


@BOTH
def test_a_state_of_the_other_kind_is_refused(make: Make) -> None:
    other: Optimizer = Adam(start()) if make is LBFGS else LBFGS(start())
    descend(other, valley, 3)
    for state in (other.state(0), other.experience(0)):
        with pytest.raises(KeyError):
            make(start()).restore([state])


@BOTH
def test_those_who_are_kept_go_on_undisturbed(make: Make) -> None:
    whole, part = make(start(3)), make(start(3))
    descend(whole, valley, 6)
    descend(part, valley, 6)
    part.keep([2, 0])
    assert torch.equal(part.x, whole.x[[2, 0]])
    for all_three, two in zip(descend(whole, valley, 8), descend(part, valley, 8), strict=True):
        torch.testing.assert_close(two, all_three[[2, 0]], rtol=1e-5, atol=1e-6)

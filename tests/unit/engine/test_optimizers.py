import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from worker.engine.errors import DivergedError
from worker.engine.optimizers import GROWTH, LBFGS, MOST_REJECTIONS, Adam, Optimizer

Function = Callable[[Tensor], Tensor]
START = torch.full((3, 4, 5), 0.3)


def valley(x: Tensor) -> Tensor:
    """A curved, badly scaled valley with its floor at 0.5."""
    d = x.flatten() - 0.5
    scales = torch.logspace(0, 2, d.numel())
    return (scales * d.square()).sum() + (d[1:] - d[:-1].square()).square().sum()


def evaluate(function: Function, x: Tensor) -> tuple[float, Tensor]:
    x = x.detach().requires_grad_()
    loss = function(x)
    (gradient,) = torch.autograd.grad(loss, x)
    return float(loss.detach()), gradient


def descend(optimizer: Optimizer, function: Function, steps: int, x: Tensor = START) -> Tensor:
    for _ in range(steps):
        x = optimizer.step(x, *evaluate(function, x))
    return x


def test_lbfgs_takes_the_steps_of_torch_s_with_one_evaluation_each() -> None:
    theirs = START.clone().requires_grad_()
    reference = torch.optim.LBFGS([theirs], max_iter=1, history_size=10)

    def closure() -> Tensor:
        reference.zero_grad()
        loss = valley(theirs)
        loss.backward()
        return loss

    ours, optimizer = START, LBFGS(history=10)
    for _ in range(15):
        reference.step(closure)
        ours = optimizer.step(ours, *evaluate(valley, ours))
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [LBFGS, lambda: Adam(learning_rate=0.02)])
def test_both_find_the_floor_of_a_valley(make: Callable[[], Optimizer]) -> None:
    before, after = float(valley(START)), float(valley(descend(make(), valley, 150)))
    assert after < before / 1000


@pytest.mark.parametrize("make", [LBFGS, Adam])
@pytest.mark.parametrize("steps", [0, 1, 2, 13])
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(
    make: Callable[[], Optimizer], steps: int
) -> None:
    first = make()
    x = descend(first, valley, steps)
    second = make()
    state = first.state()
    if state:
        second.restore(state, torch.device("cpu"))
    torch.testing.assert_close(descend(first, valley, 10, x), descend(second, valley, 10, x), rtol=0, atol=0)


@pytest.mark.parametrize("make", [LBFGS, Adam])
def test_a_state_of_the_other_kind_is_refused(make: Callable[[], Optimizer]) -> None:
    other: Optimizer = Adam() if make is LBFGS else LBFGS()
    descend(other, valley, 3)
    state = {name: value for name, value in other.state().items() if name != "rejections"}
    with pytest.raises(KeyError):
        make().restore(state, torch.device("cpu"))


def test_lbfgs_goes_half_way_back_from_a_blow_up() -> None:
    optimizer = LBFGS()
    x = descend(optimizer, valley, 5)
    loss, gradient = evaluate(valley, x)
    beyond = optimizer.step(x, loss, gradient)
    again = optimizer.step(beyond, GROWTH * loss * 1.01, gradient)
    torch.testing.assert_close(again, x + (beyond - x) / 2)


@pytest.mark.parametrize("make", [LBFGS, Adam])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_few_values_that_are_not_numbers_are_survived(make: Callable[[], Optimizer], bad: float) -> None:
    optimizer = make()
    x = descend(optimizer, valley, 5)
    x = optimizer.step(x, bad, torch.full_like(x, bad))
    assert bool(torch.isfinite(x).all())
    assert float(valley(descend(optimizer, valley, 100, x))) < float(valley(START)) / 100


@pytest.mark.parametrize("make", [LBFGS, Adam])
def test_endless_values_that_are_not_numbers_end_in_an_error(make: Callable[[], Optimizer]) -> None:
    optimizer = make()
    x = descend(optimizer, valley, 5)
    for _ in range(MOST_REJECTIONS):
        x = optimizer.step(x, math.nan, x)
    with pytest.raises(DivergedError):
        optimizer.step(x, math.nan, x)


@pytest.mark.parametrize("make", [LBFGS, Adam])
def test_a_gradient_of_zero_leaves_the_picture_as_it_is(make: Callable[[], Optimizer]) -> None:
    optimizer = make()
    x = START
    for _ in range(3):
        x = optimizer.step(x, 0.0, torch.zeros_like(x))
    torch.testing.assert_close(x, START)


def test_adam_stays_within_the_range_of_colours() -> None:
    x = descend(Adam(learning_rate=0.5), lambda image: -image.sum() + 100, 20)
    assert float(x.max()) == 1

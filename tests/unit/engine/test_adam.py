"""Adam: torch's steps, colours within range, and what an undone step costs."""

import math

import torch
from torch import Tensor

from tests.support.descent import bowl, descend, evaluate, start, valley
from worker.engine.adam import DAMPING, Adam


def raised_valley(x: Tensor) -> Tensor:
    """So high that no overshoot doubles it."""
    return valley(x) + 1000


def test_steps_are_those_of_torch_clamped() -> None:
    theirs = start(2).requires_grad_()
    reference = torch.optim.Adam([theirs], lr=0.05, betas=(0.9, 0.99))
    ours = Adam(start(2), learning_rate=0.05)
    for _ in range(30):
        reference.zero_grad()
        raised_valley(theirs).sum().backward()
        reference.step()
        with torch.no_grad():
            theirs.clamp_(0, 1)
        ours.step(*evaluate(raised_valley, ours.x))
        torch.testing.assert_close(ours.x, theirs.detach(), rtol=1e-4, atol=1e-5)


def test_colours_stay_within_range() -> None:
    met = descend(Adam(start(), learning_rate=0.5), lambda x: 1000 - x.flatten(1).sum(dim=1), 20)
    assert all(0 <= float(x.min()) <= float(x.max()) <= 1 for x in met)
    assert float(met[-1].min()) == 1


def test_an_undone_step_drops_the_moments_and_lowers_that_picture_s_rate_for_a_while() -> None:
    optimizer = Adam(start(2), learning_rate=0.02)
    descend(optimizer, bowl, 2)
    accepted = optimizer.x.clone()
    losses, gradient = evaluate(bowl, accepted)
    optimizer.step(losses, gradient)
    losses[0] = math.nan
    optimizer.step(losses, gradient)
    # Adam's first step is the rate along the gradient's sign: from the last good picture, a tenth as far.
    expected = (accepted - 0.02 * DAMPING * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(optimizer.x[0], expected[0])
    torch.testing.assert_close(optimizer.rate, torch.tensor([0.002, 0.02]))
    for _ in range(30):
        optimizer.step(losses.nan_to_num(1.0), gradient)
    torch.testing.assert_close(optimizer.rate, torch.tensor([0.02, 0.02]))

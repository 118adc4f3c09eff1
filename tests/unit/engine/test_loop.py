"""The loop of one level: the best picture, and that a recorded graph could replay it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.support.descent import Function, evaluate, start, valley
from worker.engine.adam import Adam
from worker.engine.lbfgs import LBFGS
from worker.engine.loop import Loop
from worker.engine.objective import TERMS, Evaluation
from worker.engine.optimizers import Optimizer

BOTH = pytest.mark.parametrize("make", [LBFGS, Adam])


class Plain:
    """An objective of one function; an evaluation may be spoilt for some pictures."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.evaluations = 0
        self.spoilt: dict[int, list[int]] = {}
        self.scale = torch.zeros(1)

    def __call__(self, x: Tensor) -> Evaluation:
        values, gradient = evaluate(self.function, x)
        for item in self.spoilt.get(self.evaluations, []):
            values[item], gradient[item] = math.nan, math.nan
        self.evaluations += 1
        return Evaluation(values[:, None].repeat(1, len(TERMS)), gradient)

    def keep(self, items: list[int]) -> None:
        """Pictures are all alike here."""


def loop_of(make: Callable[[Tensor], Optimizer], batch: int = 2) -> Loop:
    return Loop(Plain(valley), make(start(batch)))  # type: ignore[arg-type]


@BOTH
def test_the_best_picture_met_is_kept_with_its_terms(make: Callable[[Tensor], Optimizer]) -> None:
    loop = loop_of(make)
    least = torch.full((2,), torch.inf)
    for _ in range(12):
        loop.advance()
        least = torch.minimum(least, loop.terms[:, 0])
    assert torch.equal(loop.best_terms[:, 0], least)
    torch.testing.assert_close(valley(loop.best), least)


@BOTH
def test_a_spoilt_evaluation_never_becomes_the_best(make: Callable[[Tensor], Optimizer]) -> None:
    loop = loop_of(make)
    loop._objective.spoilt = {0: [0], 3: [1]}  # type: ignore[attr-defined]
    for _ in range(8):
        loop.advance()
    assert bool(torch.isfinite(loop.best).all())
    assert bool(torch.isfinite(loop.best_terms).all())


@BOTH
def test_what_an_advance_reads_of_the_one_before_is_changed_in_place(
    make: Callable[[Tensor], Optimizer],
) -> None:
    # A CUDA graph replays kernels on the tensors that it was recorded with. Given a loop whose attributes
    # are put back to those tensors after every advance, as a replay would have it,
    replayed, eager = loop_of(make), loop_of(make)
    for loop in (replayed, eager):
        loop.advance()
    parts: list[object] = [replayed, replayed.optimizer, replayed.optimizer._accepted]  # type: ignore[attr-defined]
    recorded = [dict(vars(part)) for part in parts]
    for _ in range(12):
        replayed.advance()
        eager.advance()
        for part, attributes in zip(parts, recorded, strict=True):
            vars(part).update(attributes)
        # I expect it to go where the other one goes.
        assert torch.equal(replayed.optimizer.x, eager.optimizer.x)
    assert torch.equal(replayed.best, eager.best)


@BOTH
def test_where_there_is_nothing_to_gain_a_rise_is_no_blow_up(make: Callable[[Tensor], Optimizer]) -> None:
    losses = [1e-9, 1e-5, 1e-10, 0.9e-2, 1.1e-2, 1e-6, 2.2e-2]
    given = iter(losses)
    objective = Plain(lambda x: x.flatten(1).sum(dim=1) * 0 + next(given))
    objective.scale = torch.tensor([10.0])
    loop = Loop(objective, make(start()))  # type: ignore[arg-type]
    undone = []
    for _ in losses:
        loop.advance()
        undone.append(int(loop.optimizer.rejections))
    assert undone == [0, 0, 0, 0, 0, 0, 1]


@BOTH
def test_those_who_are_kept_keep_their_best(make: Callable[[Tensor], Optimizer]) -> None:
    loop = loop_of(make, batch=3)
    for _ in range(4):
        loop.advance()
    best, terms = loop.best.clone(), loop.best_terms.clone()
    loop.keep([2])
    assert torch.equal(loop.best, best[[2]])
    assert torch.equal(loop.best_terms, terms[[2]])
    loop.advance()
    assert loop.terms.shape == (1, len(TERMS))

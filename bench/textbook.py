"""Style transfer as tutorials and most projects do it: one size, from the content, `torch.optim.LBFGS`."""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.stopwatch import Mark, Stopwatch, pace

Watch = Callable[[int, float, Tensor], None]
"""Is told the number of evaluations done, the loss and the picture that was evaluated."""


def descend(
    objective: Callable[[Tensor], Tensor], start: Tensor, evaluations: int, history: int, watch: Watch
) -> None:
    """Minimise from `start` (3, H, W). One evaluation a step, no line search, nothing stops it early."""
    x = start.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=1, history_size=history, tolerance_grad=-1, tolerance_change=-1
    )
    done = 0

    def closure() -> Tensor:
        nonlocal done
        optimizer.zero_grad()
        loss = objective(x)
        loss.backward()
        done += 1
        watch(done, float(loss.detach()), x.detach())
        return loss

    for _ in range(evaluations):
        optimizer.step(closure)


def seconds(
    objective: Callable[[Tensor], Tensor], start: Tensor, evaluations: int, history: int = 10
) -> float:
    """Seconds an evaluation, the optimiser's step included, after a first one that counts nothing."""
    marks: list[Mark] = []
    clock = Stopwatch()
    descend(
        objective,
        start,
        evaluations + 1,
        history,
        lambda done, _loss, _picture: marks.append(Mark(done, clock.seconds())),
    )
    return pace(marks)

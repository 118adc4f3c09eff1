"""Functions of known shape, one value a picture of a batch, for the optimisers to descend."""

from collections.abc import Callable

import torch
from torch import Tensor

from worker.engine.optimizers import Optimizer

Function = Callable[[Tensor], Tensor]
"""Pictures (B, 3, h, w) to values (B,)."""


def start(batch: int = 1, value: float = 0.3) -> Tensor:
    """Pictures to begin with, each another one."""
    spread = torch.linspace(0, 0.1, batch).view(-1, 1, 1, 1)
    return torch.full((batch, 3, 4, 5), value) + spread


def bowl(x: Tensor) -> Tensor:
    """Convex and badly scaled, with its floor at 0.5."""
    d = x.flatten(1) - 0.5
    return (torch.logspace(0, 2, d.shape[1]) * d.square()).sum(dim=1)


def valley(x: Tensor) -> Tensor:
    """Rosenbrock's kind: the bowl, curved so that straight steps climb its walls."""
    d = x.flatten(1) - 0.5
    return bowl(x) + (d[:, 1:] - d[:, :-1].square()).square().sum(dim=1)


def hills(x: Tensor) -> Tensor:
    """Curved the wrong way around 0: hardly any slope there, floors at -0.5 and 0.5."""
    return (4 * x.flatten(1).square() - 1).square().sum(dim=1)


def evaluate(function: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B,) and their gradients."""
    x = x.detach().clone().requires_grad_()
    values = function(x)
    (gradient,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), gradient


def descend(optimizer: Optimizer, function: Function, steps: int) -> list[Tensor]:
    """The pictures after each step."""
    met = []
    for _ in range(steps):
        optimizer.step(*evaluate(function, optimizer.x))
        met.append(optimizer.x.clone())
    return met

"""What the painting asks of an optimiser, and what the optimisers share.

They work on a batch (B, 3, H, W) in place. Every picture has its own step and its own memory, and nothing
that one of them meets reaches another. Nothing here waits for a device: which steps are taken and which are
undone is decided by masks where the numbers are. One evaluation is one step, so that progress, cancelling
and checkpoints are possible between any two.

A step that led to a much higher loss is undone and damped, and so is one that led to an explosion or to
values that are not numbers, which is forgiven less often.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

GROWTH, MOST_REJECTIONS = 2.0, 10
"""A step is undone when it multiplies the loss by more than the first number, in a row at most so many times.
Without a line search L-BFGS may rise a little on its way."""

EXPLOSION, MOST_EXPLOSIONS = 1e3, 2
"""Likewise for a blow-up: the loss rises by orders of magnitude, or is no number any more."""

FIRST_STEP = 0.005
"""How far the first step changes a pixel's channel on average, of a range of 1: far enough that the
gradient's change tells of the curvature, in half precision too."""

State = Mapping[str, Tensor]
"""One picture's part of an optimiser's memory, on the CPU: whole, or experience, with which it goes on nearly
as well. Experience may lack the accepted evaluation, which then is made once more."""


class Optimizer(Protocol):
    """Hands out pictures to evaluate and takes in what was found.

    Attributes:
        x: the pictures to evaluate next, (B, 3, H, W) float32; always the same tensor.
    """

    x: Tensor

    @property
    def rejections(self) -> Tensor:
        """Steps undone in a row, (B,) whole numbers."""

    @property
    def lost(self) -> Tensor:
        """Which pictures had more steps undone in a row than is of use, (B,)."""

    @property
    def accepted(self) -> Tensor:
        """Where each picture's last evaluation of use was, (B, 3, H, W); `x` before the first."""

    @property
    def state_bytes(self) -> int:
        """What one picture's whole state takes at most."""

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """Move `x` on, given the losses (B,) and their gradients (B, 3, H, W) there."""

    def keep(self, items: Sequence[int]) -> None:
        """Go on with some pictures of the batch only. `x` is another tensor afterwards."""

    def state(self, item: int) -> dict[str, Tensor]:
        """What `restore` needs so that a picture goes on from `x` undisturbed; empty at first."""

    def experience(self, item: int) -> dict[str, Tensor]:
        """What `restore` needs so that a picture goes on nearly as well, in few bytes.

        It goes on from `x` where the state holds `ACCEPTED`, else from `accepted`. Empty before the first
        step, and where nothing was learned.
        """

    def restore(self, states: Sequence[State]) -> None:
        """Take over what `state` or `experience` gave, one a picture; an empty one starts afresh.

        Raises:
            KeyError: a state is another optimiser's.
        """


ACCEPTED = ("x", "gradient", "loss", "rejections", "explosions")
"""The parts of a state that are the accepted evaluation."""


class Accepted:
    """The last accepted evaluation of each picture, and the judgement of the next.

    Attributes:
        x: where it was, (B, n); the first pictures before there is one.
        gradient: (B, n).
        loss: (B,); infinite before the first.
        rejections: steps undone in a row, (B,) whole numbers. explosions: those of them that were blow-ups.
    """

    def __init__(self, first: Tensor) -> None:
        self.x = first.clone()
        self.gradient = torch.zeros_like(first)
        self.loss = first.new_full((first.shape[0],), torch.inf)
        self.rejections, self.explosions = (
            torch.zeros(first.shape[0], dtype=torch.int64, device=first.device) for _ in range(2)
        )

    @property
    def length(self) -> Tensor:
        """The gradient's mean absolute value, (B,)."""
        # torch's norms of order one and infinity take four to thirty times as long on a CPU.
        return self.gradient.abs().mean(dim=-1)

    def judge(self, loss: Tensor, sums: Tensor) -> Tensor:
        """Which evaluations are of use, (B,).

        Sums, (B,), hold every value of the gradients, or its square: they are not finite where one of these
        is not, nor where the gradients are too large to be summed.
        """
        finite = torch.isfinite(loss + sums)
        good = finite & (loss <= GROWTH * self.loss)
        if good.is_cpu and bool(good.all()):
            self.rejections.zero_()
            self.explosions.zero_()
            return good
        self.rejections.add_(1).mul_(~good)
        self.explosions.add_(~finite | (loss > EXPLOSION * self.loss)).mul_(~good)
        return good

    @property
    def lost(self) -> Tensor:
        """See `Optimizer.lost`."""
        return (self.rejections > MOST_REJECTIONS) | (self.explosions > MOST_EXPLOSIONS)

    @property
    def begun(self) -> Tensor:
        """Which pictures have one, (B,)."""
        return self.loss < torch.inf

    def update(self, good: Tensor, x: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Take over the evaluations just judged, those that are of use."""
        choose(good, x, self.x)
        choose(good, gradient, self.gradient)
        choose(good, loss, self.loss)

    def keep(self, index: Tensor) -> None:
        """Go on with some pictures only."""
        for name in ACCEPTED:
            setattr(self, name, getattr(self, name)[index])

    def state(self, item: int) -> dict[str, Tensor]:
        """One picture's, on the CPU."""
        return {name: getattr(self, name)[item].cpu().clone() for name in ACCEPTED}

    def restore(self, item: int, state: State) -> None:
        """Take over what `state` gave. Raises KeyError where something is missing."""
        for name in ACCEPTED:
            getattr(self, name)[item] = state[name].to(self.x.device)


def choose(good: Tensor, new: Tensor, old: Tensor) -> None:
    """Put `new` into `old`, both (B, ...), where `good` (B,) says so."""
    if good.device.type == "cpu" and bool(good.all()):
        # Looking costs nothing here, and a plain copy is several times faster.
        old.copy_(new)
        return
    torch.where(good.view(-1, *(1,) * (new.ndim - 1)), new, old, out=old)

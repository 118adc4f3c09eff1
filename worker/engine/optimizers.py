"""What the painting asks of an optimiser, and what the optimisers share.

They work on a batch (B, 3, H, W) in place. Every picture has its own step and its own memory, and nothing
that one of them meets reaches another. Nothing here waits for a device: which steps are taken and which are
undone is decided by masks where the numbers are. One evaluation is one step, so that progress, cancelling
and checkpoints are possible between any two.

A step that led to values that are not numbers or to a much higher loss is undone and damped; after
`MOST_REJECTIONS` in a row the painting gives up on that picture.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

MOST_REJECTIONS = 2
"""Steps in a row that may be undone."""

GROWTH = 2.0
"""A step is undone when it multiplies the loss by more than this. Without a line search L-BFGS may rise a
little on its way; a blow-up rises by orders of magnitude."""

UNBOUNDED = 2**62
"""A budget of bytes that nothing exceeds."""

State = Mapping[str, Tensor]
"""One picture's part of an optimiser's memory, on the CPU."""


class Optimizer(Protocol):
    """Hands out pictures to evaluate and takes in what was found.

    Attributes:
        x: the pictures to evaluate next, (B, 3, H, W) float32; always the same tensor.
        rejections: steps undone in a row, (B,) whole numbers.
    """

    x: Tensor
    rejections: Tensor

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """Move `x` on, given the losses (B,) and their gradients (B, 3, H, W) there."""

    def keep(self, items: Sequence[int]) -> None:
        """Go on with some pictures of the batch only. `x` is another tensor afterwards."""

    def state(self, item: int, budget: int = UNBOUNDED) -> dict[str, Tensor]:
        """What `restore` needs so that a picture goes on undisturbed; empty before the first step.

        What does not fit into `budget` bytes is left out: the optimiser then goes on with less experience.
        """

    def restore(self, states: Sequence[State]) -> None:
        """Take over what `state` gave, one a picture; an empty one starts afresh.

        Raises:
            KeyError: a state is another optimiser's.
        """


class Accepted:
    """The last accepted evaluation of each picture, and the judgement of the next.

    Attributes:
        x: where it was, (B, n).
        gradient: (B, n).
        length: the gradient's L1 norm, (B,).
        loss: (B,); infinite before the first.
    """

    def __init__(self, batch: int, length: int, device: torch.device) -> None:
        self.x = torch.zeros(batch, length, device=device)
        self.gradient = torch.zeros(batch, length, device=device)
        self.length = torch.zeros(batch, device=device)
        self.loss = torch.full((batch,), torch.inf, device=device)
        self._met = self.length

    def judge(self, loss: Tensor, gradient: Tensor) -> Tensor:
        """Which evaluations are of use, (B,)."""
        self._met = gradient.abs().sum(dim=1)
        return torch.isfinite(loss) & torch.isfinite(self._met) & (loss <= GROWTH * self.loss)

    @property
    def begun(self) -> Tensor:
        """Which pictures have one, (B,)."""
        return torch.isfinite(self.loss)

    def update(self, good: Tensor, x: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Take over the evaluations just judged, those that are of use."""
        choose(good, self._met, self.length)
        choose(good, x, self.x)
        choose(good, gradient, self.gradient)
        choose(good, loss, self.loss)

    def keep(self, index: Tensor) -> None:
        """Go on with some pictures only."""
        for name in ("x", "gradient", "length", "loss"):
            setattr(self, name, getattr(self, name)[index])

    def state(self, item: int) -> dict[str, Tensor]:
        """One picture's, on the CPU."""
        parts = {"x": self.x[item], "gradient": self.gradient[item], "loss": self.loss[item]}
        return {name: part.detach().cpu().clone() for name, part in parts.items()}

    def restore(self, item: int, state: State) -> None:
        """Take over what `state` gave. Raises KeyError where something is missing."""
        for name, mine in (("x", self.x), ("gradient", self.gradient), ("loss", self.loss)):
            mine[item] = state[name].to(mine.device)
        self.length[item] = self.gradient[item].abs().sum()


def choose(good: Tensor, new: Tensor, old: Tensor) -> None:
    """Put `new` into `old`, both (B, ...), where `good` (B,) says so."""
    if good.device.type == "cpu" and bool(good.all()):
        # Looking costs nothing here, and a plain copy is several times faster.
        old.copy_(new)
        return
    torch.where(good.view(-1, *(1,) * (new.ndim - 1)), new, old, out=old)

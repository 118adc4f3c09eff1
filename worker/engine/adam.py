"""Adam over a batch of pictures (Kingma and Ba 2015, algorithm 1), each kept in [0, 1] after every step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.engine.optimizers import ACCEPTED, Accepted, State

_OWN = ("first", "second", "count", "rate")
PARTS = frozenset((*_OWN, *ACCEPTED))
"""What every state holds that is not empty."""

DAMPING, RECOVERY = 0.1, 1.1
"""What an undone step multiplies its picture's rate by, and what each further one that is of use does until
the rate is the first one again. Adam's first step has the rate's length however small the gradient is: where
there is next to nothing to gain, two undone ones must shorten it by orders of magnitude."""


class Adam:
    """See `worker.engine.optimizers.Optimizer`.

    Its steps do not rest on curvature, so clamping does no harm. An undone step drops the moments and
    lowers that picture's rate for a while. Memory in bytes a value of the picture: 20.
    """

    def __init__(
        self,
        x: Tensor,
        learning_rate: float = 0.02,
        decays: tuple[float, float] = (0.9, 0.99),
        epsilon: float = 1e-8,
    ) -> None:
        """Start at `x`, (B, 3, H, W) float32, which is taken over."""
        self.x = x
        batch, device = x.shape[0], x.device
        self._learning_rate, self._decays, self._epsilon = learning_rate, decays, epsilon
        self._accepted = Accepted(x.flatten(1))
        self.first, self.second = (torch.zeros_like(self._accepted.x) for _ in range(2))
        self.count = torch.zeros(batch, device=device)
        self.rate = torch.full((batch,), learning_rate, device=device)

    @property
    def rejections(self) -> Tensor:
        """See `Optimizer.rejections`."""
        return self._accepted.rejections

    @property
    def lost(self) -> Tensor:
        """See `Optimizer.lost`."""
        return self._accepted.lost

    @property
    def accepted(self) -> Tensor:
        """See `Optimizer.accepted`."""
        return self._accepted.x.view_as(self.x)

    @property
    def state_bytes(self) -> int:
        """See `Optimizer.state_bytes`: the accepted picture, its gradient, two moments."""
        return 4 * self.x[0].nbytes

    @torch.no_grad()
    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        x, accepted = self.x.view(self.x.shape[0], -1), self._accepted
        gradient = gradient.flatten(1)
        good = accepted.judge(losses, gradient.sum(dim=-1))
        accepted.update(good, x, losses, gradient)
        kept = good.to(self.rate.dtype)
        recovered = (self.rate * RECOVERY).clamp_max(self._learning_rate)
        self.rate.copy_(torch.where(good, recovered, self.rate * DAMPING))
        self.count.mul_(kept).add_(1)
        decay1, decay2 = self._decays
        gradient = accepted.gradient
        self.first.mul_(kept[:, None]).lerp_(gradient, 1 - decay1)
        self.second.mul_(kept[:, None]).mul_(decay2).addcmul_(gradient, gradient, value=1 - decay2)
        spread = (self.second / (1 - decay2**self.count)[:, None]).sqrt_().add_(self._epsilon)
        rate = (self.rate / (1 - decay1**self.count))[:, None]
        torch.addcdiv(accepted.x, self.first * rate, spread, value=-1, out=x).clamp_(0, 1)

    def keep(self, items: Sequence[int]) -> None:
        """See `Optimizer.keep`."""
        index = torch.as_tensor(items, device=self.x.device)
        self.x = self.x[index]
        self._accepted.keep(index)
        for name in _OWN:
            setattr(self, name, getattr(self, name)[index])

    def state(self, item: int) -> dict[str, Tensor]:
        """See `Optimizer.state`."""
        if not bool(self._accepted.begun[item]):
            return {}
        return self._accepted.state(item) | {name: getattr(self, name)[item].cpu().clone() for name in _OWN}

    def experience(self, item: int) -> dict[str, Tensor]:
        """See `Optimizer.experience`: all of it, but gradient and moments in half precision.

        To evaluate the accepted picture once more would count its gradient twice, and the oscillation that
        this starts takes longer to die away than the rest of a painting may last.
        """
        return {
            name: part.bfloat16() if name in ("gradient", "first", "second") else part
            for name, part in self.state(item).items()
        }

    def restore(self, states: Sequence[State]) -> None:
        """See `Optimizer.restore`."""
        for item, state in enumerate(states):
            if not state:
                continue
            self._accepted.restore(item, state)
            for name in _OWN:
                getattr(self, name)[item] = state[name].to(self.x.device)

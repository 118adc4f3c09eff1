"""Learning all layers together by Adam, for a student that is narrower than its teacher.

What a narrow layer should keep of a wide one is decided by the layers behind it too, so gradients pass
through.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

HIGHEST_RATE = 2e-3
WARM_UP = 0.05
"""The first part of the plan, over which the rate grows to its highest."""


class AllTogether:
    """Adam on the mean of all layers' errors, with a linear warm-up and half a cosine down to zero."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], layers: tuple[str, ...], steps: int, lr: float | None
    ) -> None:
        self.layers = layers
        self.steps = steps
        self.highest = HIGHEST_RATE if lr is None else lr
        self.adam = torch.optim.Adam(parameters)

    def learning(self, _step: int) -> tuple[str, ...]:
        """The layers that take part in a step: all of them."""
        return self.layers

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        warm_up = min(1.0, (step + 1) / (WARM_UP * self.steps))
        return self.highest * warm_up * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def learn(self, step: int, errors: Mapping[str, Tensor]) -> None:
        """Improve student and projections by the errors (scalars) of the last batch."""
        for group in self.adam.param_groups:
            group["lr"] = self.rate(step)
        loss = torch.stack(tuple(errors.values())).mean()
        self.adam.zero_grad()
        torch.autograd.backward(loss)
        self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the weights."""
        return dict(self.adam.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.adam.load_state_dict(dict(state))

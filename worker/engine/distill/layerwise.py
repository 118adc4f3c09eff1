"""Learning layer by layer, for a student whose channels meet its teacher's one to one.

Each convolution learns from its own squared error alone and passes no gradient on; the layers join one after
another from the input up, each when its inputs have settled. A layer's problem is then linear in its
weights, and badly conditioned, since after a ReLU all inputs are positive and move together. Multiplying
the gradient by the inverse second moment of the input patches undoes that: the input half of K-FAC (Martens
and Grosse 2015; for convolutions Grosse and Martens 2016), which here is Newton's direction estimated from
a batch. On two busy cores it learned in minutes what Adam on all layers together had not in an hour.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worker.engine.vgg import VGG

STEPS_PER_LAYER = 40
"""A layer joins so many steps after the one before it."""

COLLECTING = 12
"""For so many steps a new layer only looks at its inputs: their moment must be known before it moves."""

REFRESH_EVERY = 4
"""Steps between two looks at the inputs after that."""

MEMORY = 0.97
"""Decay of the running second moment at each look."""

DAMPING = 0.02
"""Added to the moment's diagonal, relative to its mean; with much less, directions not yet seen explode."""

PATCHES = 2048
"""At most so many patches a layer are looked at each time."""

NEWTON_SHARE = 0.3
"""The share of Newton's step that is taken, unless the plan says otherwise."""

COOLING = 0.3
"""The last part of the plan, over which the step shrinks to nothing."""


class PatchMoment:
    """Running E[p p^T] (D, D) over a convolution's input patches p, a 1 appended for the bias."""

    def __init__(self, conv: nn.Conv2d) -> None:
        self.conv = conv
        self.inputs = torch.zeros(0)
        self.looks = 0
        size = conv.weight[0].numel() + 1
        self.moment = torch.zeros(size, size)
        self._inverse: Tensor | None = None
        conv.register_forward_pre_hook(self._keep_inputs)

    def _keep_inputs(self, _conv: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
        """Remember what came in, and cut the gradient to the layer before."""
        self.inputs = arguments[0].detach()
        return (self.inputs,)

    def look(self) -> None:
        """Take in the patches of the last batch. First a plain mean, later a running one: inputs change."""
        mode = "constant" if self.conv.padding_mode == "zeros" else self.conv.padding_mode
        columns = F.unfold(F.pad(self.inputs, (1, 1, 1, 1), mode=mode), kernel_size=3)
        patches = columns.transpose(1, 2).flatten(0, 1)
        patches = patches[:: max(1, len(patches) // PATCHES)]
        patches = torch.cat([patches, patches.new_ones(len(patches), 1)], dim=1)
        self.looks += 1
        keep = min(MEMORY, 1 - 1 / self.looks)
        self.moment.mul_(keep).add_(patches.T @ patches, alpha=(1 - keep) / len(patches))
        self._inverse = None

    def step(self, share: float) -> None:
        """Take a share of Newton's step for a mean square over (B, C, H, W), from the gradients at hand."""
        weight, bias = self.conv.weight, cast("Tensor", self.conv.bias)
        gradient = torch.cat(
            [cast("Tensor", weight.grad).flatten(1), cast("Tensor", bias.grad)[:, None]], dim=1
        )
        # The mean over C channels gives each row 2 / C of its own squared error's half gradient.
        step = gradient @ self.inverse() * (self._trusted(share) * len(weight) / 2)
        weight.data.sub_(step[:, :-1].view(weight.shape))
        bias.data.sub_(step[:, -1])

    def _trusted(self, share: float) -> float:
        """The share, less where a batch has few patches for so many directions: it is noisy then."""
        batch, _, height, width = self.inputs.shape
        patches = batch * height * width
        return share * patches / (patches + len(self.moment))

    def inverse(self) -> Tensor:
        """The damped moment's inverse (D, D)."""
        if self._inverse is None:
            damping = DAMPING * self.moment.diagonal().mean()
            damped = self.moment + damping * torch.eye(len(self.moment))
            self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
        return self._inverse


class LayerByLayer:
    """Teaches a student's convolutions one after another; it changes the student's modules to that end."""

    def __init__(self, student: VGG, layers: tuple[str, ...], steps: int, lr: float | None) -> None:
        self.layers = layers
        self.steps = steps
        self.share = NEWTON_SHARE if lr is None else lr
        self.moments = {name: PatchMoment(cast("nn.Conv2d", student.get_submodule(name))) for name in layers}

    def learning(self, step: int) -> tuple[str, ...]:
        """The layers that take part in a step."""
        return self.layers[: step // STEPS_PER_LAYER + 1]

    def learn(self, step: int, errors: Mapping[str, Tensor]) -> None:
        """Improve each layer by the errors (scalars) of the last batch."""
        torch.autograd.backward(tuple(errors.values()))
        share = self.share * min(1.0, (self.steps - step) / (COOLING * self.steps))
        for index, name in enumerate(errors):
            moment = self.moments[name]
            age = step - index * STEPS_PER_LAYER
            if age < COLLECTING or age % REFRESH_EVERY == 0:
                moment.look()
            if age >= COLLECTING:
                moment.step(share)
            moment.conv.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the weights."""
        return {name: {"moment": m.moment, "looks": m.looks} for name, m in self.moments.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        for name, moment in self.moments.items():
            moment.moment.copy_(state[name]["moment"])
            moment.looks = state[name]["looks"]

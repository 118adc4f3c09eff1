"""A network's calibrated features, by the names that a spec uses, of pictures of any size."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine.calibration import channel_means
from worker.engine.network import Network, Run

Calibration = Literal["filter", "layer"]
"""Whether each filter averages 1 over the calibration set, or each layer as a whole."""


class Features:
    """A frozen network together with its calibration."""

    def __init__(self, network: Network, means: Callable[..., dict[str, Tensor]] = channel_means) -> None:
        """Take a network.

        Args:
            network: where activations come from.
            means: gives the mean activation (N,) of layers of a network, as `channel_means` does.
        """
        self.network = network
        self._measure = means
        self._means: dict[str, Tensor] = {}

    def run(self, images: Tensor, layers: Sequence[str], *, record: bool = False) -> Run:
        """See pictures (B, 3, H, W); no side may be shorter than the network's `least_side`."""
        return self.network.run(images, layers, record=record)

    def scales(self, layers: Sequence[str], calibration: Calibration = "filter") -> Mapping[str, Tensor]:
        """What each channel of these layers is multiplied by, so that its filter or its layer averages 1."""
        missing = [layer for layer in layers if layer not in self._means]
        if missing:
            self._means |= self._measure(self.network, missing)
        if calibration == "filter":
            return {layer: self._means[layer].reciprocal() for layer in layers}
        return {
            layer: self._means[layer].mean().reciprocal().expand_as(self._means[layer]) for layer in layers
        }


def at_least(images: Tensor, side: int) -> Tensor:
    """Repeat the last row and column where a picture is so narrow that pooling would leave nothing of it."""
    bottom, right = (max(0, side - length) for length in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images


def fold_back(gradient: Tensor, height: int, width: int) -> Tensor:
    """The gradient at a picture from that at what `at_least` made of it."""
    if gradient.shape[-2] > height:
        gradient = torch.cat(
            (gradient[..., : height - 1, :], gradient[..., height - 1 :, :].sum(dim=-2, keepdim=True)), dim=-2
        )
    if gradient.shape[-1] > width:
        gradient = torch.cat(
            (gradient[..., : width - 1], gradient[..., width - 1 :].sum(dim=-1, keepdim=True)), dim=-1
        )
    return gradient

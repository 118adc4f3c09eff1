"""A network's calibrated features, by the names that a spec uses.

In a spec, as in the papers, `conv4_2` means the features after that convolution's ReLU, which the network
itself calls `relu4_2`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from worker.engine import losses
from worker.engine.calibration import channel_means
from worker.engine.vgg import VGG

Calibration = Literal["filter", "layer"]
"""Whether each filter averages 1 over the calibration set, or each layer as a whole."""


@dataclass(frozen=True)
class Tap:
    """What one layer sees in one picture: activations (N, M) and what each channel is multiplied by (N,)."""

    activations: Tensor
    scale: Tensor

    def features(self) -> Tensor:
        """Calibrated features (N, M)."""
        return self.activations * self.scale[:, None]

    def gram(self) -> Tensor:
        """Gram matrix per position of the calibrated features, (N, N).

        Scaling the matrix is the same as scaling every position and saves a pass over the largest tensors.
        """
        return losses.gram(self.activations) * self.scale.outer(self.scale)


class Features:
    """A frozen network together with its calibration."""

    def __init__(self, network: VGG) -> None:
        self.network = network
        # The same whatever is tapped, so that targets and pictures are always padded alike.
        self._least_side = network.stride(network.convolutions[-1])
        self._means: dict[str, Tensor] = {}

    def __call__(
        self, image: Tensor, layers: Sequence[str], calibration: Calibration = "filter"
    ) -> dict[str, Tap]:
        """Taps of `image` (3, H, W), RGB around [0, 1], at the spec's layers; pictures of any size pass.

        Nothing is computed behind the deepest layer. Raises ValueError for a layer the network lacks.
        """
        scales = self.scales(layers, calibration)
        inner = [_inner(layer) for layer in layers]
        weights = next(self.network.parameters())
        found = self.network(_at_least(image[None], self._least_side).to(weights.dtype), inner)
        return {
            layer: Tap(found[name][0].flatten(1).float(), scales[layer])
            for layer, name in zip(layers, inner, strict=True)
        }

    def scales(self, layers: Sequence[str], calibration: Calibration = "filter") -> Mapping[str, Tensor]:
        """What each channel of these layers is multiplied by, so that its filter or its layer averages 1."""
        missing = [layer for layer in layers if layer not in self._means]
        if missing:
            means = channel_means(self.network, [_inner(layer) for layer in missing])
            self._means |= {layer: means[_inner(layer)] for layer in missing}
        if calibration == "filter":
            return {layer: self._means[layer].reciprocal() for layer in layers}
        return {
            layer: self._means[layer].mean().reciprocal().expand_as(self._means[layer]) for layer in layers
        }


def _inner(layer: str) -> str:
    return layer.replace("conv", "relu", 1)


def _at_least(images: Tensor, side: int) -> Tensor:
    """Repeat the last row and column where a picture is so narrow that pooling would leave nothing of it."""
    bottom, right = (max(0, side - length) for length in images.shape[-2:])
    return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images

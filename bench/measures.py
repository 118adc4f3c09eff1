"""What numbers can say of a painted picture: content kept, style met, noise. What it looks like, they cannot.

Pictures are RGB in [0, 1], (3, H, W), float32. Painting, files and tables are left to `quality.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from shared.backbones import GATYS_STYLE
from worker.engine import losses

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""

WINDOW, DEVIATION = 11, 1.5
STABILISERS = (0.01**2, 0.03**2)
"""Window and constants of Wang et al. 2004, section III-B, for a range of 1."""

LEAST_GRAIN = (1 / 255) ** 2 / 12
"""What rounding to 8 bits adds to any picture."""

STYLE_LAYERS = tuple(layer.replace("conv", "relu") for layer in GATYS_STYLE)


class Network(Protocol):
    """Features by VGG's layer names: the engine's networks and the teachers of its distillation."""

    def __call__(self, x: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Features (B, N, H', W') of (B, 3, H, W) at the layers asked for."""


def luminance(image: Tensor) -> Tensor:
    """(3, H, W) to (H, W)."""
    return torch.einsum("c,chw->hw", image.new_tensor(LUMA), image)


def ssim(image: Tensor, reference: Tensor) -> float:
    """Mean structural similarity of two pictures' luminance; 1 for the same picture.

    Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment", equation 13 over Gaussian windows
    of 11 x 11 with deviation 1.5, those fully inside only; a smaller picture gets a window of its size.
    Raises ValueError when the sizes differ.
    """
    if image.shape != reference.shape:
        raise ValueError(f"SSIM compares pictures of one size, not {image.shape} with {reference.shape}")
    x, y = luminance(image).double(), luminance(reference).double()
    mean_x, mean_y = _blur(x), _blur(y)
    variance_x, variance_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = STABILISERS
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(similarity.mean())


def _blur(plane: Tensor) -> Tensor:
    for dimension, side in enumerate(plane.shape):
        length = min(WINDOW, side)
        places = torch.arange(length, dtype=plane.dtype) - (length - 1) / 2
        weights = torch.exp(-places.square() / (2 * DEVIATION**2))
        shape = [1, 1, 1, 1]
        shape[2 + dimension] = length
        kernel = (weights / weights.sum()).reshape(shape)
        plane = F.conv2d(plane[None, None], kernel)[0, 0]
    return plane


def noise_ratio(image: Tensor, style: Tensor) -> float:
    """How fine-grained a picture is against its style looked at at the same size.

    The ratio of their energies in the finest band: what a 3 x 3 binomial blur takes away, squared, averaged
    over pixels and channels. 1: as the style; well above 1: noise; below 1: smoother than the style. A
    flat picture counts as having `LEAST_GRAIN`.
    """
    return _fine_energy(image) / _fine_energy(style)


def _fine_energy(image: Tensor) -> float:
    line = image.new_tensor([0.25, 0.5, 0.25])
    padded = F.pad(image[:, None], (1, 1, 1, 1), mode="replicate")
    blurred = F.conv2d(padded, line.outer(line)[None, None])[:, 0]
    return max(LEAST_GRAIN, float((image - blurred).double().square().mean()))


def gram_distances(network: Network, image: Tensor, style: Tensor) -> dict[str, float]:
    """How far two pictures' Gram matrices lie apart, by style layer; 0 for the same picture.

    The `normalized` style loss of `worker/engine/losses.py` after the ReLU; the features' scale does not
    matter. A network that the picture was not optimised against should measure it.
    """
    ours, theirs = _grams(network, image), _grams(network, style)
    return {
        layer: float(losses.style_loss(ours[layer], theirs[layer], "normalized")) for layer in STYLE_LAYERS
    }


@torch.no_grad()
def _grams(network: Network, image: Tensor) -> dict[str, Tensor]:
    # Pre-activations are what every network here can be asked for.
    inner = [layer.replace("relu", "conv") for layer in STYLE_LAYERS]
    found = network(image[None], inner)
    return {
        layer: losses.gram(found[name][0].relu().flatten(1))
        for layer, name in zip(STYLE_LAYERS, inner, strict=True)
    }

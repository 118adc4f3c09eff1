"""The losses of Gatys, Ecker and Bethge 2016.

"Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; equation numbers are theirs.

Features of a layer are F, an (N, M) matrix: N filters, M positions. Every distance is a number k times a
sum of squares, so its gradient is 2 k times the difference: what is chosen here is k. Two weightings are
offered:

- `paper`: equations 1, 4 and 5 to the letter, with pictures of different sizes brought together by dividing
  each Gram matrix by its own number of positions;
- `normalized`: each distance divided by the target's own energy, so that a value of 1 means "as far off as
  nothing at all" for every layer, network and size.
"""

from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["normalized", "paper"]

LEAST_ENERGY = 1e-3
"""Floor of a target's energy in `normalized`, in units of the energy of features that are 1 everywhere.

Calibrated features average 1, so only a picture that leaves a layer practically dark comes below it.
"""


def gram(features: Tensor) -> Tensor:
    """Gram matrix per position, G / M with G = F F^T (equation 3): (N, M) -> (N, N)."""
    return features @ features.T / features.shape[1]


def content_factor(energy: Tensor, count: int, weighting: Weighting) -> Tensor:
    """What sum (F - P)^2 is multiplied by, given `energy` = sum P^2 over `count` = N M entries.

    `paper` (equation 1): 1/2, so that the gradient is F - P.
    `normalized`: 1 / sum P^2, which makes it mean (F - P)^2 / mean P^2.
    """
    if weighting == "paper":
        return torch.full_like(energy, 0.5)
    return energy.clamp_min(LEAST_ENERGY * count).reciprocal()


def style_factor(target: Tensor, weighting: Weighting) -> Tensor:
    """What sum (G/M_g - A/M_s)^2 is multiplied by: (..., N, N) -> (...).

    `paper` (equation 4, E_l): 1 / (4 N^2), so that the gradient with respect to F is
    1 / (N^2 M_g) (G/M_g - A/M_s) F.
    `normalized`: 1 / sum (A/M_s)^2.
    """
    channels = target.shape[-1]
    energy = target.square().sum(dim=(-2, -1))
    if weighting == "paper":
        return torch.full_like(energy, 1 / (4 * channels**2))
    return energy.clamp_min(LEAST_ENERGY * channels**2).reciprocal()


def mean_factor(target: Tensor, weighting: Weighting) -> Tensor:
    """What sum (mean F - mean S)^2 is multiplied by where means are matched: (..., N) -> (...).

    `paper` has no such term; it is taken as 1 / N. `normalized`: 1 / sum (mean S)^2.
    """
    channels = target.shape[-1]
    energy = target.square().sum(dim=-1)
    if weighting == "paper":
        return torch.full_like(energy, 1 / channels)
    return energy.clamp_min(LEAST_ENERGY * channels).reciprocal()


def style_loss(gram_: Tensor, target: Tensor, weighting: Weighting) -> Tensor:
    """Distance of a Gram matrix G / M_g from the style's A / M_s, both (..., N, N): (...)."""
    return style_factor(target, weighting) * (gram_ - target).square().sum(dim=(-2, -1))


def total_variation(
    images: Tensor, gradient: Tensor, weights: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones, (B,) for (B, 3, H, W).

    Adds its gradient, times `weights` (B,), to `gradient`. What a pixel counts, (B, 1, H, W) from 0 to 1, is
    1 unless given; a pair of neighbours counts what both do, multiplied.
    """
    total = images.new_zeros(images.shape[0])
    for dim in (2, 3):
        length = images.shape[dim]
        if length < 2:
            continue
        difference = images.narrow(dim, 1, length - 1) - images.narrow(dim, 0, length - 1)
        count = difference[0].numel()
        if counts is None:
            total = total + difference.square().sum(dim=(1, 2, 3)) / count
        else:
            both = counts.narrow(dim, 1, length - 1) * counts.narrow(dim, 0, length - 1)
            total = total + (both * difference.square()).sum(dim=(1, 2, 3)) / count
            difference.mul_(both)
        difference.mul_((2 / count * weights).view(-1, 1, 1, 1))
        gradient.narrow(dim, 1, length - 1).add_(difference)
        gradient.narrow(dim, 0, length - 1).sub_(difference)
    return total

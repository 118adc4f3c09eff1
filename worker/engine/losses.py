"""The losses of Gatys, Ecker and Bethge 2016.

"Image Style Transfer Using Convolutional Neural Networks", CVPR 2016; equation numbers are theirs.

Features of a layer are F, an (N, M) matrix: N filters, M positions. Every function returns a scalar. Two
weightings of the same distances are offered:

- `paper`: equations 1, 4 and 5 to the letter, with pictures of different sizes brought together by dividing
  each Gram matrix by its own number of positions;
- `normalized`: each distance divided by the target's own energy, so that a value of 1 means "as far off as
  nothing at all" for every layer, network and size.
"""

from typing import Literal

from torch import Tensor

Weighting = Literal["normalized", "paper"]

LEAST_ENERGY = 1e-3
"""Floor of a target's energy in `normalized`, in units of the energy of features that are 1 everywhere.

Calibrated features average 1, so only a picture that leaves a layer practically dark comes below it.
"""


def gram(features: Tensor) -> Tensor:
    """Gram matrix per position, G / M with G = F F^T (equation 3): (N, M) -> (N, N)."""
    return features @ features.T / features.shape[1]


def content_loss(features: Tensor, target: Tensor, weighting: Weighting) -> Tensor:
    """Distance of the features F from the content's features P, both (N, M).

    `paper` (equation 1): 1/2 sum (F - P)^2, whose gradient is F - P.
    `normalized`: mean (F - P)^2 / mean P^2.
    """
    difference = features - target
    if weighting == "paper":
        return difference.square().sum() / 2
    return difference.square().mean() / target.square().mean().clamp_min(LEAST_ENERGY)


def style_loss(gram_: Tensor, target: Tensor, weighting: Weighting) -> Tensor:
    """Distance of a Gram matrix G / M_g from the style's A / M_s, both (N, N).

    `paper` (equation 4, E_l): 1 / (4 N^2) sum (G/M_g - A/M_s)^2, whose gradient with respect to F is
    1 / (N^2 M_g) (G/M_g - A/M_s) F.
    `normalized`: sum (G/M_g - A/M_s)^2 / sum (A/M_s)^2.
    """
    channels = target.shape[0]
    distance = (gram_ - target).square().sum()
    if weighting == "paper":
        return distance / (4 * channels**2)
    return distance / target.square().sum().clamp_min(LEAST_ENERGY * channels**2)


def total_variation(image: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones; image (..., H, W)."""
    total = image.new_zeros(())
    if image.shape[-2] > 1:
        total = total + (image[..., 1:, :] - image[..., :-1, :]).square().mean()
    if image.shape[-1] > 1:
        total = total + (image[..., :, 1:] - image[..., :, :-1]).square().mean()
    return total

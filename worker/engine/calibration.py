"""Calibration: the mean activation of every channel over a fixed set of pictures.

Gatys et al. (2016, section 2) rescale their network so that each filter's mean activation over images and
positions is 1. Here nothing is rescaled inside the network; its taps are divided by these means instead,
which comes to the same and holds for any network. The mean is that of the absolute activation: behind a ReLU
the same thing, and a measure of size as well where activations lie on both sides of zero (GELU,
normalisations, linear bottlenecks) and their plain mean says nothing. The calibration set is made, not
shipped: `dead-leaves-1`.
"""

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from worker.engine.network import Network

CALIBRATION_SET = "dead-leaves-1"
"""Name of the set that `pictures` makes; another recipe needs another name."""

PICTURES, SIDE, LEAVES = 8, 96, 250
SMALLEST_LEAF, LARGEST_LEAF = 2.0, 80.0
LEAST_SHARE = 0.1
"""A channel's mean is taken to be at least this share of its layer's mean: a channel that the set leaves dark
must not be amplified without bound."""


@functools.cache
def pictures() -> Tensor:
    """The set `dead-leaves-1`: (8, 3, 96, 96) in [0, 1], the same on every machine.

    Discs of random colour that hide one another, with radii distributed as r^-3, have the edges, occlusions
    and scale invariance of natural images (Lee, Mumford and Huang 2001, "Occlusion models for natural
    images"). Each disc is shaded along a random direction and grained, so that none is flat.
    """
    generator = torch.Generator().manual_seed(1)
    return torch.stack([_dead_leaves(generator) for _ in range(PICTURES)])


def _dead_leaves(generator: torch.Generator) -> Tensor:
    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    # The inverse of the distribution function of r^-3 between the two radii.
    small, large = SMALLEST_LEAF**-2, LARGEST_LEAF**-2
    radii = (small - uniform(LEAVES) * (small - large)).rsqrt()
    # The last leaf lies under all others and covers everything.
    radii[-1] = 2 * SIDE
    centres = uniform(LEAVES, 2) * SIDE
    colours, shades = uniform(LEAVES, 3), (uniform(LEAVES, 2) - 0.5) / SIDE
    rows, columns = torch.arange(SIDE)[:, None], torch.arange(SIDE)[None]
    distances = (rows[..., None] - centres[:, 0]).square() + (columns[..., None] - centres[:, 1]).square()
    top = (distances < radii.square()).to(torch.uint8).argmax(dim=-1)
    shading = (rows - centres[top, 0]) * shades[top, 0] + (columns - centres[top, 1]) * shades[top, 1]
    grain = 0.04 * torch.randn(SIDE, SIDE, generator=generator)
    return (colours[top].permute(2, 0, 1) + shading + grain).clamp(0, 1)


@torch.no_grad()
def channel_means(network: Network, layers: Sequence[str]) -> dict[str, Tensor]:
    """Mean activation (N,) of each channel of each of the network's layers over the set; see `means`."""
    return means(network.run(pictures().to(network.device), layers, record=False).taps)


def means(activations: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean absolute activation (N,) of each channel of each layer, given (B, N, h, w), with its floor.

    A layer that is dark altogether (a network of zeros) gets means of 1: it cannot be calibrated.
    """
    means = {}
    for layer, values in activations.items():
        mean = values.float().abs().mean(dim=(0, 2, 3))
        floor = LEAST_SHARE * mean.mean()
        means[layer] = mean.clamp_min(float(floor)) if floor > 0 else torch.ones_like(mean)
    return means

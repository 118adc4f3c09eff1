"""What the engine asks of a network: named layers, one pass forward, one pass back to the pictures.

Every backbone has a class that keeps to this, whatever computes behind it (`vgg`, `torchvision_network`).
Which layers are tapped, how they are calibrated and what is made of them is the business of others.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Run(Protocol):
    """One forward pass."""

    @property
    def taps(self) -> Mapping[str, Tensor]:
        """Activations (B, N, h, w) by layer name, not to be written to.

        Their dtype and memory format are the network's.
        """

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Gradient at the images, (B, 3, H, W) in float32, given the gradients at taps.

        Taps that are not named count as having none. Raises RuntimeError for a second call, and for a run
        that was not recorded.
        """


class Network(Protocol):
    """A frozen feature network with its weights and its preprocessing."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names that may be tapped, shallow to deep."""

    @property
    def least_side(self) -> int:
        """Shortest picture side, in pixels, that every layer still sees something of."""

    def run(self, images: Tensor, layers: Sequence[str], *, record: bool) -> Run:
        """Look at pictures. Nothing behind the deepest of the layers is computed.

        Args:
            images: (B, 3, H, W), float32, RGB around [0, 1].
            layers: what to tap.
            record: keep what `Run.backward` needs.

        Raises:
            UnknownLayerError: a name is not among `layers`.
        """

    def to(self, device: torch.device, dtype: torch.dtype) -> "Network":
        """Move the network, in place; returns it."""

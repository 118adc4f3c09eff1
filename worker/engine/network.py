"""What the engine asks of a feature network, whatever is inside it.

`worker.engine.chain` runs VGG networks by hand; `worker.engine.torchvision_network` wraps any other.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor


class Run(Protocol):
    """One forward pass."""

    @property
    def taps(self) -> Mapping[str, Tensor]:
        """By layer, what it sees: (B, N, h, w) in the network's precision, after the activation function."""

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient at the images, (B, 3, H, W) float32, from those at taps. Once, of a recorded run."""


class Network(Protocol):
    """A frozen feature network.

    Attributes:
        layers: names of what can be tapped, shallow to deep.
        least_side: shortest picture side of which every layer still sees something.
    """

    layers: tuple[str, ...]
    least_side: int

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def dtype(self) -> torch.dtype:
        """Its arithmetic."""

    def run(self, images: Tensor, layers: Sequence[str], *, record: bool) -> Run:
        """See `images`, (B, 3, H, W) float32 RGB around [0, 1], at some layers and no further.

        Args:
            images: no side shorter than `least_side`.
            layers: what to tap.
            record: keep what `Run.backward` needs.

        Raises:
            UnknownLayerError: it has no such layer.
        """

    def grid(self, layer: str, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of positions that a layer has in a picture of this size."""

    def stride(self, layer: str) -> int:
        """Picture pixels, along each side, that one position of a layer stands for."""

    def halo(self, layers: Sequence[str]) -> int | None:
        """Pixels beyond its own that a position of these layers depends on at most.

        None where pictures cannot be cut into tiles.
        """

    def bytes_a_pixel(self, layers: Sequence[str]) -> float:
        """Memory that a recorded run and its way back take at their peak, a pixel of the picture."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move it, itself, to a device and a precision."""

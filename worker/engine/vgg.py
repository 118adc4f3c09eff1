"""VGG feature networks with named layers, built from a table of widths.

One class serves torchvision's VGG-16 and VGG-19 and the project's own `compact`. A layer is named as in the
style transfer literature: `conv4_2` is the convolution's output *before* the ReLU, `relu4_2` after it,
`pool3` the output of the third pooling. (The papers write "conv4_2" for what is `relu4_2` here.) This
module leaves to others which layers are tapped, how their channels are calibrated, and where weights come
from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Widths = tuple[tuple[int, ...], ...]
"""Output channels of each convolution, block by block; a 2x2 pooling stands between blocks."""

Pooling = Literal["avg", "max"]
Padding = Literal["zeros", "replicate", "reflect"]

LAYOUTS: dict[str, Widths] = {
    "vgg11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg13": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
    "compact": ((16,) * 2, (32,) * 2, (64,) * 4, (128,) * 4, (128,)),
}
"""Simonyan and Zisserman 2015, table 1, columns A, B, D, E; `compact` is E to conv5_1, a quarter as wide."""


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects: `(rgb - mean) / std` for RGB in [0, 1], one number a channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""torchvision's normalisation for its ImageNet weights."""


class VGG(nn.Module):
    """The convolutional part of a VGG network, with every layer named.

    `pooling` is average by default (Gatys et al. 2016, section 2) and max on request. `padding` is how
    every 3x3 convolution sees beyond the picture's edge; zeros, which the ImageNet weights were trained
    with, darken and frame the painted picture, so replication is the default.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        widths: Widths,
        *,
        pooling: Pooling = "avg",
        padding: Padding = "replicate",
        preprocessing: Preprocessing = IMAGENET,
    ) -> None:
        super().__init__()
        if pooling not in ("avg", "max"):
            raise ValueError(f"pooling is 'avg' or 'max', not {pooling!r}")
        self.widths = widths
        self.pooling = pooling
        self.padding = padding
        self.preprocessing = preprocessing
        self._channels: dict[str, int] = {}
        channels = 3
        for block, outputs in enumerate(widths, start=1):
            for place, width in enumerate(outputs, start=1):
                conv = nn.Conv2d(channels, width, kernel_size=3, padding=1, padding_mode=padding)
                self.add_module(f"conv{block}_{place}", conv)
                channels = width
                self._channels[f"conv{block}_{place}"] = width
                self._channels[f"relu{block}_{place}"] = width
            self._channels[f"pool{block}"] = channels
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers from the input to the deepest."""
        return tuple(self._channels)

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions from the input to the deepest."""
        return tuple(name for name in self._channels if name.startswith("conv"))

    def channels(self, layer: str) -> int:
        """How many channels a layer has. Raises ValueError for an unknown name."""
        self._check([layer])
        return self._channels[layer]

    def stride(self, layer: str) -> int:
        """How many input pixels, along each side, one position of a layer stands for."""
        self._check([layer])
        passed = self.layers[: self.layers.index(layer) + 1]
        return int(2 ** sum(name.startswith("pool") for name in passed))

    def forward(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Features of `x` (B, 3, H, W), RGB in [0, 1], at the layers asked for, in the network's order.

        Each is (B, C, H / stride, W / stride), rounded down. Nothing behind the deepest of them is computed.
        Raises ValueError for an unknown name, or for a picture that a pooling would shrink to nothing.
        """
        self._check(layers)
        wanted = set(layers)
        found: dict[str, Tensor] = {}
        x = (x - self.mean) / self.std
        for name in self._channels:
            if len(found) == len(wanted):
                break
            x = self._compute(name, x)
            if name in wanted:
                found[name] = x
        return found

    def _compute(self, name: str, x: Tensor) -> Tensor:
        """One layer, by its name."""
        if name.startswith("conv"):
            y: Tensor = self.get_submodule(name)(x)
            return y
        if name.startswith("relu"):
            # Not in place: the pre-activation may have been asked for as well.
            return F.relu(x)
        if min(x.shape[-2:]) < 2:
            raise ValueError(
                f"the picture is too small for {name}: {tuple(x.shape[-2:])} positions are left before it"
            )
        return F.avg_pool2d(x, 2) if self.pooling == "avg" else F.max_pool2d(x, 2)

    def _check(self, layers: Sequence[str]) -> None:
        unknown = [name for name in layers if name not in self._channels]
        if unknown:
            raise ValueError(f"no layer {', '.join(unknown)} here; there are {', '.join(self.layers)}")


def from_torchvision_state(state: Mapping[str, Tensor], widths: Widths) -> dict[str, Tensor]:
    """Rename torchvision's `features.N.weight` and `.bias` to this module's `convB_I.weight` and `.bias`.

    A state of the whole network (its classifier is left aside) and of `features` alone (`N.weight`) both
    serve. torchvision counts ReLU and pooling as modules of their own, so N follows from the widths; layers
    behind the table's last one are dropped. Raises ValueError when a tensor is missing or has another
    shape.
    """
    renamed: dict[str, Tensor] = {}
    index, inputs = 0, 3
    for block, outputs in enumerate(widths, start=1):
        for place, width in enumerate(outputs, start=1):
            for part, shape in (("weight", (width, inputs, 3, 3)), ("bias", (width,))):
                tensor = state.get(f"features.{index}.{part}", state.get(f"{index}.{part}"))
                if tensor is None or tuple(tensor.shape) != shape:
                    found = "nothing" if tensor is None else str(tuple(tensor.shape))
                    raise ValueError(
                        f"features.{index}.{part} should be {shape} and is {found}: another network?"
                    )
                renamed[f"conv{block}_{place}.{part}"] = tensor
            index, inputs = index + 2, width
        index += 1
    return renamed

"""A VGG network run forward and backward by hand.

Its layers form one chain and its weights are frozen, so that automatic differentiation would only keep what
is not needed: here each convolution leaves one tensor behind, its output after the ReLU, padded already for
the next convolution. Everything is channels-last. The backward pass of a convolution with regard to its
input is a convolution with the kernel turned round and the channels swapped.

In bfloat16 a picture enters as the sum of two numbers, its rounded value and the remainder, since bfloat16
alone resolves only 1/256 of the range and the optimiser's late steps are smaller than that.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine.errors import UnknownLayerError
from worker.engine.vgg import VGG

_CONV = "conv"

TENSOR_CORES = 8
"""Channels of which tensor cores want a multiple, and which no processor minds."""


class Chain:
    """A frozen VGG; see `worker.engine.network.Network`. Layers are named as in a spec."""

    def __init__(self, vgg: VGG) -> None:
        if vgg.padding != "replicate":
            raise ValueError("only replicated edges are computed by hand")
        self._vgg = vgg
        self.layers = vgg.convolutions
        self.least_side = vgg.stride(self.layers[-1])
        self._steps = tuple(name for name in vgg.layers if not name.startswith("relu"))
        self._max_pooling = vgg.pooling == "max"
        self.to(torch.device("cpu"), torch.float32)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Its arithmetic."""
        return self._kernels[self.layers[0]].dtype

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move it to a device and a precision."""
        self._mean, self._std = self._vgg.mean.to(device), self._vgg.std.to(device)
        self._kernels: dict[str, Tensor] = {}
        self._turned: dict[str, Tensor] = {}
        self._biases: dict[str, Tensor] = {}
        for name in self.layers:
            conv = self._vgg.get_submodule(name)
            kernel = conv.get_parameter("weight").detach().to(device, dtype)
            self._biases[name] = conv.get_parameter("bias").detach().to(device, dtype)
            self._turned[name] = _channels_last(kernel.flip(2, 3).transpose(0, 1))
            self._kernels[name] = _channels_last(kernel)
        first = self.layers[0]
        if dtype is torch.bfloat16:
            doubled = torch.cat((self._kernels[first],) * 2, dim=1)
            self._kernels[first] = _channels_last(F.pad(doubled, (0, 0, 0, 0, 0, self._unused)))
        turned = self._turned[first]
        self._turned[first] = _channels_last(F.pad(turned, (0,) * 7 + (TENSOR_CORES - turned.shape[0],)))
        return self

    @property
    def _unused(self) -> int:
        """Empty channels that enter beside the picture's six in bfloat16, to suit tensor cores."""
        return TENSOR_CORES - 6 if self.device.type == "cuda" else 0

    def stride(self, layer: str) -> int:
        """Picture pixels, along each side, that one position of a layer stands for."""
        return self._vgg.stride(layer)

    def grid(self, layer: str, height: int, width: int) -> tuple[int, int]:
        """See `Network.grid`."""
        stride = self.stride(layer)
        return height // stride, width // stride

    def halo(self, layers: Sequence[str]) -> int:
        """See `Network.halo`: each convolution reaches one position of its own layer further."""
        steps = self._up_to(layers)
        return sum(self.stride(name) for name in steps if name.startswith(_CONV))

    def bytes_a_pixel(self, layers: Sequence[str]) -> float:
        """See `Network.bytes_a_pixel`: every layer once, and what the widest one's step needs beside it."""
        sizes = [
            self._vgg.channels(name) / self.stride(name) ** 2
            for name in self._up_to(layers)
            if name.startswith(_CONV)
        ]
        wide = max(sizes, default=0)
        # Features; a convolution's output, gradient in and out; and a float32 copy for sums.
        return (sum(sizes) + 3 * wide) * self.dtype.itemsize + 4 * wide + 6 * 4

    def channels(self, layer: str) -> int:
        """How many channels a layer has."""
        return self._vgg.channels(layer)

    @torch.no_grad()
    def run(self, images: Tensor, layers: Sequence[str], *, record: bool) -> "ChainRun":
        """See `Network.run`."""
        steps = self._up_to(layers)
        run = ChainRun(self, images.shape, steps)
        x = self._enter(images)
        for step, following in zip_longest(steps, steps[1:]):
            if step.startswith(_CONV):
                padded = following is not None and following.startswith(_CONV)
                x, features = self._convolve(step, x, padded=padded)
                if step in layers:
                    run.taps[step] = features
                if record:
                    run.features[step] = features
            else:
                x = run.pool(step, features, record=record)
                if following is not None:
                    x = _pad(x)
        return run

    def _up_to(self, layers: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in layers if name not in self.layers]
        if unknown:
            raise UnknownLayerError(unknown, self.layers)
        last = max((self._steps.index(name) for name in layers), default=-1)
        return self._steps[: last + 1]

    def _enter(self, images: Tensor) -> Tensor:
        x = (images - self._mean) / self._std
        if self.dtype is torch.bfloat16:
            rounded = x.to(torch.bfloat16)
            x = torch.cat((rounded, (x - rounded).to(torch.bfloat16)), dim=1)
            x = F.pad(x, (0, 0, 0, 0, 0, self._unused))
        return _pad(_channels_last(x.to(self.dtype)))

    def _convolve(self, name: str, padded_input: Tensor, *, padded: bool) -> tuple[Tensor, Tensor]:
        """One convolution and its ReLU: the next one's padded input, and the features within it."""
        y = F.conv2d(padded_input, self._kernels[name], self._biases[name])
        if not padded:
            y.clamp_(min=0)
            return y, y
        x, features = _framed(y.shape, y)
        torch.clamp(y, min=0, out=features)
        _repeat_edges(x)
        return x, features

    def turned(self, name: str) -> Tensor:
        """The kernel of the backward pass, (N_in, N_out, 3, 3)."""
        return self._turned[name]

    @property
    def max_pooling(self) -> bool:
        """Whether the largest of four positions is taken instead of their mean."""
        return self._max_pooling

    def leave(self, gradient: Tensor) -> Tensor:
        """The gradient at the pictures from that at what entered."""
        return gradient[:, :3].to(torch.float32, memory_format=torch.contiguous_format) / self._std


class ChainRun:
    """One forward pass of a `Chain`; see `worker.engine.network.Run`."""

    def __init__(self, chain: Chain, shape: torch.Size, steps: tuple[str, ...]) -> None:
        self.taps: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}
        self._chain = chain
        self._shape = shape
        self._steps = steps
        self._winners: dict[str, Tensor] = {}

    def pool(self, step: str, features: Tensor, *, record: bool) -> Tensor:
        """Halve both sides. Max pooling notes its winners."""
        if not self._chain.max_pooling:
            return F.avg_pool2d(features, 2)
        pooled: Tensor
        pooled, winners = torch.ops.aten.max_pool2d_with_indices(features, [2, 2], [2, 2])
        if record:
            self._winners[step] = winners
        return pooled

    @torch.no_grad()
    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """See `Run.backward`. What was recorded is let go on the way."""
        gradient: Tensor | None = None
        backwards = self._steps[::-1]
        for step, before in zip_longest(backwards, backwards[1:]):
            if step.startswith(_CONV):
                features = self.features.pop(step)
                gradient = _sum(gradient, gradients.get(step))
                if gradient is None:
                    continue
                gradient = torch.ops.aten.threshold_backward(gradient, features, 0)
                gradient = _fold_edges(F.conv2d(gradient, self._chain.turned(step), padding=2))
            elif gradient is not None:
                gradient = self._unpool(step, gradient, self.features[before])
        if gradient is None:
            return torch.zeros(self._shape, device=self._chain.device)
        return self._chain.leave(gradient)

    def _unpool(self, step: str, gradient: Tensor, features: Tensor) -> Tensor:
        gradient = _channels_last(gradient)
        if not self._chain.max_pooling:
            options = {"ceil_mode": False, "count_include_pad": False, "divisor_override": None}
            spread: Tensor = torch.ops.aten.avg_pool2d_backward(
                gradient, features, [2, 2], [2, 2], [0, 0], **options
            )
            return spread
        winners = self._winners.pop(step)
        won: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, features, [2, 2], [2, 2], [0, 0], [1, 1], ceil_mode=False, indices=winners
        )
        return won


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a.add_(b)


def _framed(shape: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
    """An empty tensor with a frame of one position around `shape`, and its inside."""
    batch, channels, height, width = shape
    x = torch.empty(
        (batch, channels, height + 2, width + 2),
        dtype=like.dtype,
        device=like.device,
        memory_format=torch.channels_last,
    )
    return x, x[:, :, 1:-1, 1:-1]


def _pad(x: Tensor) -> Tensor:
    padded, inside = _framed(x.shape, x)
    inside.copy_(x)
    _repeat_edges(padded)
    return padded


def _repeat_edges(x: Tensor) -> None:
    """Fill the frame with what lies beside it."""
    rows = x[:, :, 1:-1]
    rows[..., :: x.shape[3] - 1].copy_(rows[..., 1 : -1 : _between(x.shape[3])])
    x[:, :, :: x.shape[2] - 1].copy_(x[:, :, 1 : -1 : _between(x.shape[2])])


def _fold_edges(x: Tensor) -> Tensor:
    """The reverse: add the frame's gradient to what it was filled with, and return the inside."""
    _fold(x[:, :, :: x.shape[2] - 1], x[:, :, 1 : -1 : _between(x.shape[2])], dim=2)
    rows = x[:, :, 1:-1]
    _fold(rows[..., :: x.shape[3] - 1], rows[..., 1 : -1 : _between(x.shape[3])], dim=3)
    return rows[..., 1:-1]


def _fold(frame: Tensor, edge: Tensor, dim: int) -> None:
    edge.add_(frame if edge.shape[dim] == 2 else frame.sum(dim=dim, keepdim=True))


def _between(length: int) -> int:
    """Positions from the first to the last within a frame, at least 1: as a stride it meets just these."""
    return max(1, length - 3)

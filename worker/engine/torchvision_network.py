"""Any classification network of torchvision as a backbone, differentiated by autograd.

The network's own normalisation is applied inside. Two things are not as it was trained, for the same reasons
as in `vgg`: convolutions see the picture's edge repeated instead of zeros, which would paint a frame, and
where average pooling is asked for, it takes the place of every max pooling that is a module (Inception v3 has
two more inside its branches, which stay). Where weights come from is left to `backbones`.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal, Self

import torch
import torchvision
from torch import Tensor, fx, nn

from worker.engine.errors import UnknownLayerError
from worker.engine.torchvision_nodes import TRACING, skeleton

Pooling = Literal["avg", "max"]
Padding = Literal["replicate", "zeros"]

PROBE = 128
"""Side in pixels of the picture that memory is measured on."""

SHOWN = 8
"""Names that a message lists at most."""


class TorchvisionNetwork:
    """A frozen torchvision network; keeps to `worker.engine.network.Network`."""

    def __init__(
        self,
        name: str,
        state: Mapping[str, Tensor],
        *,
        pooling: Pooling = "avg",
        padding: Padding = "replicate",
    ) -> None:
        """Build the network in float32 on the CPU.

        Args:
            name: torchvision's, see `torchvision_nodes.names`.
            state: every tensor of the network, as torchvision saves it. It is copied.
            pooling: what max pooling becomes.
            padding: what convolutions see beyond the picture's edge.

        Raises:
            ValueError: the name is unknown, or the state is another network's.
        """
        self._skeleton = skeleton(name)
        self.layers = tuple(self._skeleton.layers)
        self.least_side = self._skeleton.least_side
        self._extractors: dict[frozenset[str], fx.GraphModule] = {}
        self._grids: dict[tuple[str, int, int], tuple[int, int]] = {}
        self._bytes: dict[frozenset[str], float] = {}
        self.pooling = pooling
        model = self._skeleton.model()
        model.load_state_dict(_filled(model.state_dict(), _current(state)), assign=True)
        self._model = model.requires_grad_(requires_grad=False)
        _prepare(model, pooling, padding)
        # Which normalisation belongs to a network, torchvision says with its published weights.
        preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
        self._mean, self._std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std)
        )
        self.to(torch.device("cpu"), torch.float32)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._mean.device

    @property
    def dtype(self) -> torch.dtype:
        """Its arithmetic."""
        return self._dtype

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move the network, in place, weights in channels-last format; not while it runs."""
        self._model.to(device, dtype).to(memory_format=torch.channels_last)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        self._dtype = dtype
        # They hold parameters of their own where an operation takes one that is no module's.
        self._extractors.clear()
        self._bytes.clear()
        return self

    def stride(self, layer: str) -> int:
        """See `Network.stride`."""
        return self._skeleton.stride(self._nodes([layer])[layer])

    def grid(self, layer: str, height: int, width: int) -> tuple[int, int]:
        """See `Network.grid`."""
        key = (self._nodes([layer])[layer], height, width)
        if key not in self._grids:
            self._grids[key] = self._skeleton.grid(*key)
        return self._grids[key]

    def halo(self, layers: Sequence[str]) -> None:  # noqa: ARG002 - the same for all
        """See `Network.halo`: some layers see the whole picture, most very far; there are no tiles."""
        return

    def bytes_a_pixel(self, layers: Sequence[str]) -> float:
        """See `Network.bytes_a_pixel`: measured on a small picture."""
        key = frozenset(layers)
        if key not in self._bytes:
            self._bytes[key] = self._measured_bytes(layers)
        return self._bytes[key]

    def _measured_bytes(self, layers: Sequence[str]) -> float:
        """What autograd keeps, each storage once, and the widest four times over for the step at hand."""
        side = max(PROBE, self.least_side)
        weights = {value.data_ptr() for value in self._model.state_dict().values()}
        kept: dict[int, Tensor] = {}

        def keep(value: Tensor) -> Tensor:
            if value.data_ptr() not in weights:
                kept[value.untyped_storage().data_ptr()] = value
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            run = self.run(torch.zeros(1, 3, side, side, device=self.device), layers, record=True)
        sizes = [value.untyped_storage().nbytes() for value in (*kept.values(), *run.taps.values())]
        return (sum(sizes) + 4 * max(sizes, default=0)) / side**2

    def run(self, images: Tensor, layers: Sequence[str], *, record: bool) -> "TorchvisionRun":
        """See `Network.run`."""
        nodes = self._nodes(layers)
        with TRACING, torch.set_grad_enabled(record):
            leaf = images.detach().requires_grad_(record)
            x = (leaf - self._mean) / self._std
            x = x.to(dtype=self._dtype, memory_format=torch.channels_last)
            found = self._extractor(frozenset(nodes.values()))(x)
        return TorchvisionRun(leaf, {layer: found[node] for layer, node in nodes.items()})

    def _extractor(self, nodes: frozenset[str]) -> fx.GraphModule:
        if nodes not in self._extractors:
            self._extractors[nodes] = self._skeleton.extractor(self._model, nodes)
        return self._extractors[nodes]

    def _nodes(self, layers: Sequence[str]) -> dict[str, str]:
        known = self._skeleton.layers
        unknown = [layer for layer in layers if layer not in known]
        if unknown:
            close = get_close_matches(unknown[0], known, n=SHOWN) or [
                name for name in known if "." not in name
            ]
            raise UnknownLayerError(unknown, close[:SHOWN])
        return {layer: known[layer] for layer in layers}


class TorchvisionRun:
    """One forward pass; keeps to `worker.engine.network.Run`."""

    def __init__(self, images: Tensor, recorded: dict[str, Tensor]) -> None:
        self._images = images
        self._recorded = recorded if images.requires_grad else None
        self.taps: dict[str, Tensor] = {layer: value.detach() for layer, value in recorded.items()}

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """See `Run.backward`."""
        if self._recorded is None:
            raise RuntimeError("a run goes back once, and only if it was recorded")
        recorded, self._recorded = self._recorded, None
        if not gradients:
            return torch.zeros_like(self._images, requires_grad=False)
        outputs = [recorded[layer] for layer in gradients]
        wanted = [gradient.to(recorded[layer].dtype) for layer, gradient in gradients.items()]
        return torch.autograd.grad(outputs, self._images, wanted)[0]


def _prepare(model: nn.Module, pooling: Pooling, padding: Padding) -> None:
    """Set pooling and padding; let nothing work in place, or a tap would show what came after it."""
    for parent in list(model.modules()):
        for name, module in parent.named_children():
            if hasattr(module, "inplace"):
                module.inplace = False  # type: ignore[assignment]
            if isinstance(module, nn.Conv2d) and padding == "replicate":
                module.padding_mode = "replicate"
            if isinstance(module, nn.MaxPool2d) and pooling == "avg":
                setattr(parent, name, _average(module))


def _average(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    # Like the maximum, the mean is taken of what is inside the picture.
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, count_include_pad=False)


def _current(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state under today's names: DenseNet's published files write `norm.1` for `norm1`."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", key): value
        for key, value in state.items()
    }


def _filled(shapes: dict[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dictionary of the right shapes with copies of these tensors, floats in float32.

    Counts of batches, which older files lack, play no part.
    """
    counts = {key for key in shapes if key.endswith(".num_batches_tracked")}
    wrong = sorted(
        key
        for key in (shapes.keys() | state.keys()) - counts
        if key not in state or key not in shapes or state[key].shape != shapes[key].shape
    )
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError(f"{', '.join(wrong[:SHOWN])}{more} are missing, of another shape, or too many")
    for key in shapes:
        value = state.get(key, torch.tensor(0))
        dtype = torch.float32 if value.is_floating_point() else value.dtype
        shapes[key] = value.detach().to(dtype, copy=True)
    return shapes

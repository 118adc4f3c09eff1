"""What can be tapped in torchvision's classification networks: found out without weights.

Layers carry torchvision's own node names, as its `get_graph_node_names` lists them: `layer3.5.relu_2` is a
node, `layer3` and `layer3.5` stand for the last node inside. A node counts as a layer when it gives feature
maps (B, N, h, w): its height follows the picture's, its width likewise, its channels neither. That leaves out
classifiers, squeezed vectors and what transformers compute in other orders.
"""

import copy
import functools
import threading
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

SIDES = 256, 384
"""Two picture sides, in pixels, that every network takes and whose maps differ."""

ONE_SIZE = ("vit_", "maxvit_")
"""Beginnings of the names of networks that take pictures of one size only."""

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    name: {"init_weights": False, "transform_input": True} for name in ("googlenet", "inception_v3")
}
"""How networks with published weights are built where that is not the default: these two were trained with
another normalisation, to which `transform_input` converts."""


TRACING = threading.RLock()
"""Held while a network is traced. torch.fx puts its own call in place of every module's meanwhile, in all
threads: whoever calls modules while another thread may be tracing holds it too."""


@functools.cache
def names() -> tuple[str, ...]:
    """Names of the classification networks that can serve as backbones."""
    listed = torchvision.models.list_models(module=torchvision.models)
    return tuple(name for name in listed if not name.startswith(ONE_SIZE))


@functools.cache
def skeleton(name: str) -> "Skeleton":
    """The network's skeleton, made once. Raises ValueError for a name that is not among `names`."""
    if name not in names():
        raise ValueError(f"torchvision has no network {name!r} that could be a backbone")
    with TRACING:
        return Skeleton(name)


class Skeleton:
    """A network without weights, which knows its layers.

    Attributes:
        layers: from a layer's name to the node that it stands for, shallow to deep.
        least_side: shortest picture side, in pixels, that every layer still sees something of.
    """

    def __init__(self, name: str) -> None:
        model = torchvision.models.get_model(name, weights=None, **OPTIONS.get(name, {}))
        self._model: nn.Module = model.eval().to("meta")
        training, nodes = get_graph_node_names(self._model, suppress_diff_warning=True)
        extractor: fx.GraphModule = create_feature_extractor(
            self._model,
            train_return_nodes=training[:1],  # never used, but something must be named
            eval_return_nodes={node: node for node in nodes},
            suppress_diff_warning=True,
        )
        maps = _Maps(extractor)
        self._graph = extractor.graph
        self._strides = maps.strides
        self.layers: dict[str, str] = _layers(nodes[1:], maps.strides.keys())  # the first is the picture
        self.least_side: int = maps.least_side

    def model(self) -> nn.Module:
        """A copy of the network, in evaluation mode, on the meta device."""
        return copy.deepcopy(self._model)

    def stride(self, node: str) -> int:
        """Picture pixels, along each side, that one position of a node stands for."""
        return self._strides[node]

    def grid(self, node: str, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of positions that a node has in a picture of this size."""
        with TRACING, torch.no_grad():
            found = self.extractor(self._model, [node])(torch.empty(1, 3, height, width, device="meta"))
        rows, columns = found[node].shape[2:]
        return rows, columns

    def extractor(self, model: nn.Module, nodes: Container[str]) -> fx.GraphModule:
        """The forward pass of such a model up to the deepest of these nodes; it returns a dictionary by node.

        The model's modules are shared, not copied. No function works in place, so that what is returned stays
        what it was.
        """
        extractor = fx.GraphModule(model, copy.deepcopy(self._graph))
        for node in extractor.graph.nodes:
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
            if node.op == "output":
                [found] = node.args
                node.args = ({name: value for name, value in found.items() if name in nodes},)
        extractor.graph.eliminate_dead_code()
        extractor.delete_all_unused_submodules()
        extractor.recompile()
        return extractor


class _Maps:
    """Which nodes give feature maps, found by showing the network sizes instead of pictures."""

    def __init__(self, extractor: fx.GraphModule) -> None:
        self._extractor = extractor
        small, large = SIDES
        square, tall, wide = (
            self._shapes(small, small),
            self._shapes(large, small),
            self._shapes(small, large),
        )
        self.strides = {
            node: round((large - small) / (tall[node][2] - square[node][2]))
            for node in square
            if _is_map(square[node], tall[node], wide[node])
        }

    @functools.cached_property
    def least_side(self) -> int:
        low, high = 1, SIDES[0]
        while low < high:
            middle = (low + high) // 2
            if self._passes(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def _passes(self, side: int) -> bool:
        try:
            shapes = self._shapes(side, side)
        except RuntimeError:  # a convolution or a pooling finds less than its kernel
            return False
        return all(min(shapes[node]) >= 1 for node in self.strides)

    def _shapes(self, height: int, width: int) -> dict[str, tuple[int, ...]]:
        with torch.no_grad():
            found = self._extractor(torch.empty(1, 3, height, width, device="meta"))
        return {node: tuple(value.shape) for node, value in found.items() if isinstance(value, Tensor)}


def _is_map(square: tuple[int, ...], tall: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    if not len(square) == len(tall) == len(wide) == 4:
        return False
    _, channels, height, width = square
    return (
        (channels, width) == (tall[1], tall[3])
        and (channels, height) == (wide[1], wide[2])
        and tall[2] > height
        and wide[3] > width
    )


def _layers(nodes: Iterable[str], maps: Collection[str]) -> dict[str, str]:
    """Nodes that give maps, and modules whose last node does; a module stands behind its last node."""
    last: dict[str, str] = {}
    for node in nodes:
        parts = node.split(".")
        for depth in range(len(parts), 0, -1):
            module = ".".join(parts[:depth])
            last.pop(module, None)
            last[module] = node
    return {name: node for name, node in last.items() if node in maps}

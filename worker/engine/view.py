"""How one level looks at pictures: which layers, through which tiles, and which positions count.

A picture too large for memory is seen tile by tile; what comes out is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worker.engine import moments, tiles
from worker.engine.features import Features, at_least
from worker.engine.moments import Moments
from worker.engine.network import Run
from worker.engine.tiles import Tile

Guidance = Mapping[str, Tensor]
"""By layer, what each position counts in each region: (B, R, h, w), 0 or more."""


@dataclass(frozen=True)
class View:
    """The network as a level uses it.

    Attributes:
        features: the calibrated network.
        content_layers: tapped for content. style_layers: tapped for style.
        with_means: whether style is means and covariances, not Gram matrices.
        tile_side: longest side of a tile's core in pixels; None to see pictures whole.
    """

    features: Features
    content_layers: tuple[str, ...]
    style_layers: tuple[str, ...]
    with_means: bool = False
    tile_side: int | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """All tapped layers, each once."""
        return tuple(dict.fromkeys((*self.content_layers, *self.style_layers)))

    def widened(self, images: Tensor) -> Tensor:
        """The pictures, continued where they are too narrow for the network."""
        return at_least(images, self.features.network.least_side)

    def tiles(self, height: int, width: int) -> tuple[Tile, ...]:
        """The tiles of a (widened) picture."""
        network = self.features.network
        halo = network.halo(self.layers)
        if self.tile_side is None or halo is None:
            return tiles.cover(height, width, None, 0, 1)
        stride = max((network.stride(layer) for layer in self.layers), default=1)
        return tiles.cover(height, width, self.tile_side, halo, stride)

    def runs(self, images: Tensor, layers: Sequence[str]) -> Iterator[tuple[Tile, Run]]:
        """Runs over the tiles of (widened) pictures, not recorded."""
        for tile in self.tiles(*images.shape[-2:]):
            rows, columns = tile.cut()
            yield tile, self.features.run(images[..., rows, columns], layers)

    def slices(self, tile: Tile, layer: str) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Rows and columns of a tile's core at a layer: in the tile's features, and in the whole's."""
        if tile.is_whole:
            everything = (slice(None), slice(None))
            return everything, everything
        return tile.own(self.features.network.stride(layer))

    def own(self, tile: Tile, run: Run, layer: str) -> Tensor:
        """What a tile's core sees at a layer, (B, N, h, w)."""
        (rows, columns), _ = self.slices(tile, layer)
        return run.taps[layer][:, :, rows, columns]

    def share(self, tile: Tile, layer: str, whole: Tensor) -> Tensor:
        """The tile's core's part of something (B, ?, h, w) of the whole picture at a layer."""
        _, (rows, columns) = self.slices(tile, layer)
        return whole[:, :, rows, columns]

    def content(self, images: Tensor) -> dict[str, Tensor]:
        """Features at the content layers, (B, N, h, w) in the network's precision, not calibrated."""
        images = self.widened(images)
        found: dict[str, Tensor] = {}
        for tile, run in self.runs(images, self.content_layers) if self.content_layers else ():
            for layer in self.content_layers:
                own = self.own(tile, run, layer)
                if layer not in found:
                    size = (*own.shape[:2], *self.features.network.grid(layer, *images.shape[-2:]))
                    found[layer] = torch.empty(
                        size, dtype=own.dtype, device=own.device, memory_format=torch.channels_last
                    )
                self.share(tile, layer, found[layer]).copy_(own)
        return found

    def counts(self, tile: Tile, layer: str, guidance: Guidance | None) -> Tensor | None:
        """What the positions of a tile's core count, (B, R, h, w); None where all count 1."""
        return None if guidance is None else self.share(tile, layer, guidance[layer])

    def sums(self, tile: Tile, run: Run, guidance: Guidance | None) -> dict[str, Moments]:
        """Sums of a tile's core at the style layers, not calibrated."""
        return {
            layer: moments.sums(
                self.own(tile, run, layer), self.counts(tile, layer, guidance), with_first=self.with_means
            )
            for layer in self.style_layers
        }

    def style(self, images: Tensor, guidance: Guidance | None = None) -> dict[str, Moments]:
        """Moments per position at the style layers, not calibrated."""
        images = self.widened(images)
        total: dict[str, Moments] = {}
        for tile, run in self.runs(images, self.style_layers) if self.style_layers else ():
            part = self.sums(tile, run, guidance)
            total = {layer: total[layer] + part[layer] for layer in part} if total else part
        weights = self.weights(images, guidance)
        return {layer: found.over(weights[layer]) for layer, found in total.items()}

    def weights(self, images: Tensor, guidance: Guidance | None) -> dict[str, Tensor]:
        """What all positions of a layer count together, (B, R)."""
        if guidance is not None:
            return {layer: counts.sum(dim=(-2, -1)).clamp_min(1e-6) for layer, counts in guidance.items()}
        batch, _, height, width = images.shape
        return {
            layer: images.new_full((batch, 1), self.positions(layer, height, width))
            for layer in self.style_layers
        }

    def positions(self, layer: str, height: int, width: int) -> float:
        """How many positions a layer has in a (widened) picture of this size."""
        rows, columns = self.features.network.grid(layer, height, width)
        return float(rows * columns)

    def guide(self, masks: Tensor) -> Guidance:
        """Masks (B, R, H, W) in [0, 1] at the style layers' sizes, each position as much as its pixels do."""
        masks = self.widened(masks)
        sizes = {layer: self.features.network.grid(layer, *masks.shape[-2:]) for layer in self.style_layers}
        return {layer: F.adaptive_avg_pool2d(masks, size) for layer, size in sizes.items()}

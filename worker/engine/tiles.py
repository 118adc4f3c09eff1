"""Cutting a picture into tiles whose features, put together, are the whole picture's.

A tile has a core, which is its own, and a halo around it, as wide as a position of the deepest layer
reaches. What a network sees in the core does not depend on anything beyond the halo. Cores start at
multiples of the deepest layer's stride, so that poolings fall as in the whole picture; where a tile ends
with the picture, the network's own edges are the picture's.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A tile along one side, in pixels: it covers [start, end), of which [core, core_end) is its own."""

    start: int
    end: int
    core: int
    core_end: int
    length: int

    def own(self, stride: int) -> tuple[slice, slice]:
        """The core's positions in a layer of this stride: in the tile's features, and in the whole's."""
        whole = slice(self.core // stride, self._up_to(self.core_end, stride))
        offset = self.start // stride
        return slice(whole.start - offset, whole.stop - offset), whole

    def _up_to(self, end: int, stride: int) -> int:
        # Poolings drop an odd last row, so the last core ends where the layer does.
        return end // stride if end < self.length else self.length // stride


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture."""

    rows: Span
    columns: Span

    def cut(self) -> tuple[slice, slice]:
        """What of the picture the tile covers, halo included."""
        return slice(self.rows.start, self.rows.end), slice(self.columns.start, self.columns.end)

    @property
    def is_whole(self) -> bool:
        """Whether it is the picture."""
        return all(span.core == 0 and span.core_end == span.length for span in (self.rows, self.columns))

    def own(self, stride: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """The core in a layer of this stride: in the tile's features, and in the whole picture's."""
        (rows, all_rows), (columns, all_columns) = self.rows.own(stride), self.columns.own(stride)
        return (rows, columns), (all_rows, all_columns)


def cover(height: int, width: int, side: int | None, halo: int, stride: int) -> tuple[Tile, ...]:
    """Tiles that cover a picture.

    Args:
        height: the picture's, in pixels.
        width: likewise.
        side: longest side of a core in pixels; None for one tile that is the whole.
        halo: pixels that a position depends on beyond its own.
        stride: the deepest layer's.
    """
    rows = tuple(_spans(height, side, halo, stride))
    columns = tuple(_spans(width, side, halo, stride))
    return tuple(Tile(row, column) for row in rows for column in columns)


def _spans(length: int, side: int | None, halo: int, stride: int) -> Iterator[Span]:
    if side is None or length <= side:
        yield Span(0, length, 0, length, length)
        return
    halo = -(-halo // stride) * stride
    # Cores of about the same length: a thin last one would cost a whole halo.
    count = -(-length // side)
    core = max(stride, -(-length // (count * stride)) * stride)
    starts = range(0, length, core)
    for start in starts:
        end = min(length, start + core)
        if end < length and length - end < stride:
            end = length
        yield Span(max(0, start - halo), min(length, end + halo), start, end, length)
        if end == length:
            return

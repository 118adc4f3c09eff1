"""Cutting a print's blocks: flat colours, key lines, and the outlined unions of discs that make foam."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from samples.canvas import Array

FOAM, SHADE = "#f7f1df", "#bcd3da"
Point = tuple[float, float]


class Blocks:
    """The colour blocks and the key block (the lines): a later shape covers what lies under it."""

    def __init__(self, width: int, height: int) -> None:
        """Clean blocks of pixels; the colour blocks leave the sky to be printed underneath."""
        self.height = height
        self.colour = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        self.key = Image.new("L", (width, height), 0)
        self._colour, self._key = ImageDraw.Draw(self.colour), ImageDraw.Draw(self.key)

    def shape(self, points: Array, fill: str, line: float = 0.0) -> None:
        """A filled polygon with corners (n, 2) in picture heights, its outline `line` wide."""
        corners = [(float(x) * self.height, float(y) * self.height) for x, y in points]
        self._colour.polygon(corners, fill=fill)
        self._key.polygon(corners, fill=0)
        if line:
            self.line(np.concatenate([points, points[:1]]), line)

    def line(self, points: Array, wide: float) -> None:
        """A key-block line through points (n, 2)."""
        corners = [(float(x) * self.height, float(y) * self.height) for x, y in points]
        self._key.line(corners, fill=255, width=max(1, round(wide * self.height)), joint="curve")

    def foam(
        self,
        blobs: Iterable[tuple[float, float, float]],
        line: float,
        fill: str = FOAM,
        *,
        shade: bool = True,
    ) -> None:
        """The outlined union of round blobs (x, y, radius), with pale blue where they turn from the light."""
        kept = list(blobs)
        for x, y, radius in kept:
            self._disc(self._key, x, y, radius + line, 255)
        for x, y, radius in kept:
            self._disc(self._key, x, y, radius, 0)
            self._disc(self._colour, x, y, radius + 0.5 * line, fill)
        for x, y, radius in kept if shade else []:
            self._disc(self._colour, x + 0.22 * radius, y + 0.30 * radius, 0.62 * radius, SHADE)
        for x, y, radius in kept if shade else []:
            self._disc(self._colour, x - 0.05 * radius, y + 0.02 * radius, 0.55 * radius, fill)

    def _disc(self, where: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: str | int) -> None:
        h = self.height
        where.ellipse(((x - radius) * h, (y - radius) * h, (x + radius) * h, (y + radius) * h), fill=fill)


def spline(points: list[Point], samples: int = 160) -> Array:
    """A Catmull-Rom curve through points, evenly spaced along its length: (samples, 2)."""
    p = np.array([points[0], *points, points[-1]], dtype=np.float64)
    pieces = []
    for i in range(len(points) - 1):
        t = np.linspace(0, 1, 40, endpoint=False)[:, None]
        a, b, c, d = p[i : i + 4]
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    curve = np.concatenate([*pieces, p[-1:]])
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(curve, axis=0).T))])
    at = np.linspace(0, walked[-1], samples)
    return np.stack([np.interp(at, walked, curve[:, k]) for k in (0, 1)], axis=1)

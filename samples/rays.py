"""A pinhole camera for vectorised ray casting, with extra rays where a picture has edges.

Points and directions are arrays of shape (3, n): right, up, forward.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samples.canvas import Array

SUBPIXELS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
"""A turned grid of four rays in a pixel, in pixels from its centre."""


BATCH = 1 << 15
"""Rays shaded at once: few enough for their arrays to stay in a processor's cache."""


def unit(vector: Array) -> Array:
    """Vectors (3, n) or (3,) scaled to length one."""
    return np.asarray(vector / np.sqrt((vector * vector).sum(axis=0)))


def dot(a: Array, b: Array) -> Array:
    """Dot products of (3, n) with (3, n) or (3,)."""
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@dataclass(frozen=True)
class Camera:
    """Where the eye stands, where it looks, and the tangent of half its vertical view."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    tangent: float

    def directions(self, x: Array, y: Array) -> Array:
        """Unit ray directions (3, n) for screen points, y in -1..1 upward and x scaled alike."""
        forward = unit(np.subtract(self.target, self.position))
        right = unit(np.cross([0.0, 1.0, 0.0], forward))
        up = np.cross(forward, right)
        rays = forward[:, None] + self.tangent * (right[:, None] * x + up[:, None] * y)
        return unit(rays.astype(np.float32))


Shader = Callable[[Array, Array], Array]
"""From screen points (x, y), each (n,), to display colours (3, n) in 0..1."""


def cast(shade: Shader, width: int, height: int, contrast: float = 0.06) -> Array:
    """Shade each pixel once and pixels beside an edge four times more; returns (height, width, 3)."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32).reshape(2, -1)

    def shaded(column: Array, row: Array) -> Array:
        x, y = (2 * column + 1 - width) / height, 1 - (2 * row + 1) / height
        parts = [shade(x[at : at + BATCH], y[at : at + BATCH]) for at in range(0, len(x), BATCH)]
        return np.asarray(np.clip(np.concatenate(parts, axis=1), 0, 1))

    picture = np.asarray(shaded(columns, rows)).T.reshape(height, width, 3)
    edge = np.zeros((height, width), dtype=bool)
    across = np.abs(np.diff(picture, axis=1)).max(axis=-1) > contrast
    down = np.abs(np.diff(picture, axis=0)).max(axis=-1) > contrast
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    chosen = edge.reshape(-1)
    total = np.zeros((3, int(chosen.sum())))
    for dx, dy in SUBPIXELS:
        total += shaded(columns[chosen] + dx, rows[chosen] + dy)
    picture[edge] = (total / len(SUBPIXELS)).T
    return picture

"""Oil paint: brush strokes that follow a vector field, with bristle streaks, and a thickness to be lit.

Positions are in picture heights (x from 0 to width / height, y from 0 down to 1), so that a painting has
the same strokes at every size. What is painted, and where strokes run, is the picture's own affair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from samples.canvas import Array, relief, smoothstep
from samples.noise import value

Field = Callable[[float, float], tuple[float, float]]
"""A direction (dx, dy) at a point; its length does not matter."""


@dataclass(frozen=True)
class Brush:
    """A kind of stroke: width and length in picture heights, thickness, and spread between bristles."""

    width: float
    length: float
    body: float = 1.0
    streaks: float = 0.10
    opacity: float = 0.95


def follow(field: Field, x: float, y: float, length: float, steps: int = 10) -> Array:
    """A path of (steps + 1, 2) points through a field, centred on (x, y)."""
    half = steps // 2
    halves = []
    for sign in (-1.0, 1.0):
        px, py, points = x, y, []
        for _ in range(half):
            dx, dy = field(px, py)
            scale = sign * length / (2 * half) / (float(np.hypot(dx, dy)) + 1e-9)
            mx, my = field(px + 0.5 * scale * dx, py + 0.5 * scale * dy)
            scale = sign * length / (2 * half) / (float(np.hypot(mx, my)) + 1e-9)
            px, py = px + scale * mx, py + scale * my
            points.append((px, py))
        halves.append(points)
    return np.array([*halves[0][::-1], (x, y), *halves[1]], dtype=np.float32)


class Painting:
    """A canvas that takes strokes and is lit at the end."""

    def __init__(self, width: int, height: int, ground: Array) -> None:
        """Start from a ground of shape (height, width, 3)."""
        self.width, self.height = width, height
        self.colour = ground.astype(np.float32).copy()
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) / height
        weave = np.sin(xs * 900) * np.sin(ys * 900)
        self.thickness = (0.10 * weave).astype(np.float32)

    def stroke(self, path: Array, colour: Array, brush: Brush, seed: float) -> None:
        """Lay one stroke along a path (n, 2) in one colour (3,); `seed` picks its bristles."""
        scale = self.height
        points = path * scale
        half = 0.5 * brush.width * scale
        left, top = np.floor(points.min(axis=0) - half - 1).astype(int)
        right, bottom = np.ceil(points.max(axis=0) + half + 2).astype(int)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, self.width), min(bottom, self.height)
        if right <= left or bottom <= top:
            return
        ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32)
        along, across, length = _along(points, xs + 0.5, ys + 0.5)
        u, v = along / scale, across / half
        bristle = (
            value(v * 4.2 + seed * 7.3, u * 9.0 + seed) * 0.6
            + value(v * 9.5 + seed * 3.1, u * 14.0 + seed) * 0.4
        )
        ragged = value(v * 5.5 + seed * 5.1, np.full_like(v, seed)) * 0.9 * half
        taper = smoothstep(-0.2 * half, 0.9 * half, along - ragged * 0.6)
        taper = taper * smoothstep(-0.2 * half, 1.5 * half, length - along - ragged * 1.6)
        soft = 1.0 / max(half, 1.0)
        edge = 1 - smoothstep(1 - 0.25 * bristle - soft, 1 - 0.25 * bristle + soft, np.abs(v))
        dry = smoothstep(0.05, 0.4, bristle + 0.9 - 0.75 * np.clip(along / max(length, 1.0), 0, 1))
        alpha = (edge * taper * dry * brush.opacity).astype(np.float32)
        tone = 1 + brush.streaks * 2.6 * (bristle - 0.5)
        paint = colour * tone[..., None] + brush.streaks * 0.35 * (bristle - 0.5)[..., None]
        area = (slice(top, bottom), slice(left, right))
        self.colour[area] += alpha[..., None] * (paint - self.colour[area])
        ridge = 0.55 + 0.9 * (bristle - 0.4) + 0.5 * smoothstep(0.55, 0.9, np.abs(v))
        lift = brush.body * ridge * brush.width * 60
        self.thickness[area] += alpha * (0.35 * self.thickness[area] + lift - self.thickness[area])

    def lit(self, strength: float = 1.0) -> Array:
        """The painting under a raking light from the upper left."""
        diffuse, specular = relief(self.thickness, strength * 0.9)
        shade = (0.35 + 0.65 * diffuse)[..., None]
        return np.asarray(np.clip(self.colour * shade + 0.16 * specular[..., None], 0, 1))


def _along(points: Array, xs: Array, ys: Array) -> tuple[Array, Array, float]:
    """For each pixel: the distance along the path, the signed distance across it, and the path's length."""
    best = np.full(xs.shape, np.inf, dtype=np.float32)
    along, across = np.zeros_like(best), np.zeros_like(best)
    walked = 0.0
    last = len(points) - 2
    for index, ((ax, ay), (bx, by)) in enumerate(pairwise(points)):
        dx, dy = float(bx - ax), float(by - ay)
        length = max(float(np.hypot(dx, dy)), 1e-6)
        ux, uy = dx / length, dy / length
        t = (xs - ax) * ux + (ys - ay) * uy
        low, high = (-np.inf if index == 0 else 0.0), (np.inf if index == last else length)
        inside = np.clip(t, low, high)
        side = (ys - ay) * ux - (xs - ax) * uy
        gap = side * side + (t - inside) ** 2
        closer = gap < best
        best = np.where(closer, gap, best)
        along = np.where(closer, walked + inside, along)
        across = np.where(closer, np.copysign(np.sqrt(gap), side), across)
        walked += length
    return along, across, walked

"""The shapes of the still life as signed distances: the table, the vessels and the fruit.

Points are (3, n): right, up, away from the eye. Colour and light are left to the picture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samples.canvas import Array, Index, smoothstep
from samples.rays import dot, unit

TABLE, WALL, CLOTH, JUG, BOWL, ORANGE, APPLE, PEAR, LEMON, GRAPE, STEM, LEAF = range(12)
ORANGES = ((0.62, 1.00, 0.35, 0.37), (1.28, 1.02, 0.30, 0.36), (0.98, 1.05, 0.88, 0.36))
APPLES = ((0.95, 1.42, 0.45, 0.37), (-0.30, 0.36, -0.72, 0.37))
"""Fruit as (x, y, z, radius)."""
PEARS = ((-1.92, 0.0, -0.30, 0.10), (2.28, 0.0, -0.10, -0.16))
"""Pears as (x, y, z, lean)."""
LEMON_WHOLE, LEMON_HALF = (0.42, 0.25, -1.28), (1.18, 0.27, -1.30)
BOWL_AT, JUG_AT = (0.95, 0.0, 0.48), (-0.95, 0.0, 0.62)
CUT = unit(np.array([-0.30, 0.42, -0.86]))
"""Which way the lemon's cut face looks."""


def _grapes() -> Array:
    """Centres and radii (n, 4) of a bunch that lies on the cloth and hangs toward the table's edge."""
    rng = np.random.default_rng(12)
    found: list[tuple[float, float, float, float]] = []
    while len(found) < 30:
        t = rng.uniform(0, 1)
        x = -1.62 + 0.92 * t + rng.normal(0, 0.13)
        z = -1.12 - 0.30 * t + rng.normal(0, 0.15)
        radius = rng.uniform(0.115, 0.15)
        y = radius + max(0.0, rng.uniform(-0.10, 0.30) * (1 - 0.7 * t))
        if all(
            (x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 > (0.82 * (radius + r)) ** 2 for a, b, c, r in found
        ):
            found.append((x, y, z, radius))
    return np.array(found, dtype=np.float32)


GRAPES = _grapes()


def _blend(a: Array, b: Array, soft: float) -> Array:
    """The smooth minimum of two distances."""
    h = np.clip(0.5 + 0.5 * (b - a) / soft, 0, 1)
    return np.asarray(b + (a - b) * h - soft * h * (1 - h))


def ball(p: Array, x: float, y: float, z: float, radius: float) -> Array:
    """Signed distance to a ball."""
    return np.asarray(np.sqrt((p[0] - x) ** 2 + (p[1] - y) ** 2 + (p[2] - z) ** 2) - radius)


def _table(p: Array) -> Array:
    edge = np.maximum(np.abs(p[2] - 1.2) - 3.05, p[1])
    return np.asarray(np.maximum(edge, -0.32 - p[1]))


def _cloth(p: Array) -> Array:
    """A linen cloth across the left of the table that falls over its edge in folds."""
    x, z = p[0], p[2]
    fold = 0.055 * np.sin(x * 4.2 + 1.6 * np.sin(z * 1.3) + 0.6 * z) + 0.035 * np.sin(x * 9.5 - z * 2.6 + 1.0)
    over = smoothstep(-1.3, -2.0, z)
    rise = 0.045 + np.maximum(fold, -0.03) * (0.55 + 1.2 * over)
    top = p[1] - rise
    slope = -1.95 - 0.10 * np.sin(x * 4.2 + 1.0) - 0.06 * np.sin(x * 9.5 + 2.0)
    hang = np.abs(z - slope) - 0.035
    flat = np.maximum(np.abs(top) - 0.03, slope - z)
    fall = np.maximum(np.maximum(hang, p[1] - 0.09), -1.4 - p[1])
    shape = _blend(np.asarray(flat), np.asarray(fall), 0.10)
    sides = np.maximum(x - 0.30 - 0.42 * (z + 1.0) + 0.10 * np.sin(z * 3), -x - 3.4)
    return np.asarray(np.maximum(np.maximum(shape, sides), z - 0.15 - 0.25 * np.sin(x * 1.7)) * 0.6)


def _jug(p: Array) -> Array:
    x, y, z = p[0] - JUG_AT[0], p[1], p[2] - JUG_AT[2]
    ring = np.hypot(x, z)
    heights = [-0.1, 0.0, 0.10, 0.35, 0.75, 1.10, 1.45, 1.75, 2.00, 2.22, 2.40, 2.6]
    radii = [0.44, 0.44, 0.47, 0.66, 0.80, 0.76, 0.56, 0.37, 0.31, 0.35, 0.46, 0.50]
    spread = np.interp(y, np.linspace(-0.1, 2.6, 55), _smooth(heights, radii))
    spout = 0.16 * smoothstep(2.0, 2.42, y) * np.clip(-x / (ring + 1e-4), 0, 1) ** 6
    shell = np.abs(ring - spread - spout + 0.045) - 0.035
    body = np.maximum(np.maximum(shell * 0.72, y - 2.42), 0.0 - y)
    base = np.maximum(np.maximum(ring - spread + 0.02, y - 0.08), -y) * 0.7
    hx, hy = (x - 0.52) / 0.42, (y - 1.62) / 0.56
    loop = np.hypot((np.hypot(hx, hy) - 1.0) * 0.46, z) - 0.062
    handle = np.maximum(loop, 0.36 - x)
    return _blend(np.minimum(body, base), handle, 0.07)


def _smooth(heights: list[float], values: list[float]) -> Array:
    """A profile interpolated and rounded off, at 55 heights from -0.1 to 2.6."""
    at = np.linspace(-0.1, 2.6, 55)
    line = np.interp(at, heights, values)
    for _ in range(3):
        padded = np.pad(line, 1, mode="edge")
        line = 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]
    return np.asarray(line)


def _bowl(p: Array) -> Array:
    x, y, z = p[0] - BOWL_AT[0], p[1], p[2] - BOWL_AT[2]
    ring = np.hypot(x, z)
    sphere = np.abs(np.sqrt(ring**2 + (y - 1.22) ** 2) - 1.12) - 0.022
    body = np.maximum(sphere, y - 0.80)
    rim = np.hypot(ring - 1.035, y - 0.80) - 0.042
    foot = np.maximum(np.abs(ring - 0.42 + 0.25 * y) - 0.05, np.abs(y - 0.08) - 0.09)
    return np.asarray(np.minimum(np.minimum(body, rim), foot))


def _apple(p: Array) -> Array:
    best = np.full(p.shape[1], np.inf)
    for ax, ay, az, radius in APPLES:
        x, y, z = (p[0] - ax) / radius, (p[1] - ay) / radius, (p[2] - az) / radius
        ring = np.hypot(x, z)
        lobed = 1 + 0.025 * np.cos(5 * np.arctan2(z, x)) * (y < 0)
        shape = np.hypot(ring - 0.36, y * 1.02 + 0.05 * ring) - 0.66 * lobed
        best = np.minimum(best, shape * radius * 0.85)
    return best


def _pear(p: Array) -> Array:
    best = np.full(p.shape[1], np.inf)
    for px, _, pz, lean in PEARS:
        x = p[0] - px - lean * p[1]
        low = np.sqrt(x**2 + (p[1] - 0.42) ** 2 + (p[2] - pz) ** 2) - 0.43
        high = np.sqrt(x**2 + (p[1] - 0.98) ** 2 + (p[2] - pz) ** 2) - 0.20
        best = np.minimum(best, _blend(low, high, 0.34) * 0.9)
    return best


def _lemon(p: Array) -> Array:
    whole = _lemon_shape(p, LEMON_WHOLE, unit(np.array([0.93, 0.0, 0.36])))
    half = _lemon_shape(p, LEMON_HALF, CUT)
    centre = np.array(LEMON_HALF)[:, None]
    return np.asarray(np.minimum(whole, np.maximum(half, dot(p - centre, CUT) - 0.02)))


def _lemon_shape(p: Array, at: tuple[float, float, float], axis: Array) -> Array:
    q = p - np.array(at)[:, None]
    along = dot(q, axis)
    ring = np.sqrt(np.maximum(dot(q, q) - along**2, 0))
    body = (np.hypot(along / 1.28, ring) - 0.27) * 0.9
    nub = np.hypot(np.abs(along) - 0.35, ring) - 0.045
    return _blend(body, nub, 0.09)


def _grape(p: Array) -> Array:
    best = np.full(p.shape[1], np.inf)
    for x, y, z, radius in GRAPES:
        best = np.minimum(best, ball(p, x, y + 0.05, z, radius))
    return best


def _stems(p: Array) -> Array:
    """Stalks of the apples, pears and grapes, as bent rods."""
    best = np.full(p.shape[1], np.inf)
    rods = [((x, y + 0.16, z), (x + 0.06, y + 0.52, z - 0.03)) for x, y, z, _ in APPLES]
    rods += [((x + 1.1 * lean, 1.1, z), (x + 1.1 * lean + 0.10, 1.42, z)) for x, _, z, lean in PEARS]
    rods += [((-1.75, 0.30, -1.0), (-2.02, 0.52, -0.82)), ((-1.75, 0.30, -1.0), (-1.2, 0.34, -1.2))]
    for first, last in rods:
        a, b = np.array(first)[:, None], np.array(last)[:, None]
        t = np.clip(dot(p - a, b - a) / dot(b - a, b - a), 0, 1)
        gap = p - a - (b - a) * t
        best = np.minimum(best, np.sqrt(dot(gap, gap)) - 0.022 - 0.012 * t)
    return best


def _leaf(p: Array) -> Array:
    """Leaves on the oranges, the apple and the vine, each a bent blade."""
    best = np.full(p.shape[1], np.inf)
    for x, y, z, turn, size in (
        (1.55, 1.42, 0.12, 0.4, 0.34),
        (0.42, 1.34, 0.20, 2.6, 0.32),
        (-2.18, 0.36, -0.98, 2.3, 0.42),
        (-1.75, 0.46, -0.80, 0.9, 0.36),
        (1.2, 1.66, 0.42, 0.5, 0.25),
    ):
        q0, q2 = p[0] - x, p[2] - z
        u, v = q0 * np.cos(turn) + q2 * np.sin(turn), q2 * np.cos(turn) - q0 * np.sin(turn)
        w = p[1] - y + 0.55 * u**2 / size - 0.45 * np.abs(v) + 0.03 * np.sin(u * 22)
        outline = np.abs(v) - 0.42 * size * np.sqrt(np.clip(1 - (u / size) ** 2, 0, 1)) * (
            1 - 0.25 * u / size
        )
        best = np.minimum(best, np.maximum(np.maximum(np.abs(w) - 0.012, outline), np.abs(u) - size) * 0.6)
    return best


def _wall(p: Array) -> Array:
    return np.asarray(3.4 - p[2])


@dataclass(frozen=True)
class Part:
    """One kind of thing: its signed distance, and a ball that holds it (none for what fills the room)."""

    shape: Callable[[Array], Array]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = np.inf

    def __call__(self, p: Array) -> Array:
        """The distance to the thing, or, well away from its ball, a lower bound of it."""
        if np.isinf(self.radius):
            return self.shape(p)
        bound = ball(p, *self.centre, self.radius) + 0.12
        near = np.flatnonzero(bound < 0.30)
        if near.size:
            bound[near] = self.shape(p[:, near])
        return bound


def _oranges(p: Array) -> Array:
    return np.asarray(np.minimum.reduce([ball(p, *orange) for orange in ORANGES]))


PARTS: dict[int, Part] = {
    TABLE: Part(_table),
    WALL: Part(_wall),
    CLOTH: Part(_cloth, (-1.6, -0.5, -0.9), 2.6),
    JUG: Part(_jug, (-0.8, 1.2, 0.62), 1.5),
    BOWL: Part(_bowl, (0.95, 0.4, 0.48), 1.18),
    ORANGE: Part(_oranges, (0.95, 1.0, 0.5), 0.85),
    APPLE: Part(_apple, (0.33, 0.9, -0.14), 1.25),
    PEAR: Part(_pear, (0.18, 0.6, -0.2), 2.65),
    LEMON: Part(_lemon, (0.8, 0.26, -1.28), 0.85),
    GRAPE: Part(_grape, (-1.15, 0.2, -1.25), 0.95),
    STEM: Part(_stems, (0.0, 0.9, -0.3), 2.6),
    LEAF: Part(_leaf, (-0.4, 0.9, -0.3), 2.5),
}


def distance(p: Array) -> Array:
    """Signed distance to the nearest thing."""
    return np.asarray(np.minimum.reduce([part(p) for part in PARTS.values()]))


def kind_of(p: Array) -> Index:
    """Which of PARTS is nearest to each point."""
    return np.asarray(np.argmin(np.stack([part(p) for part in PARTS.values()]), axis=0))

"""A still life by a window: a glazed jug, a copper bowl of fruit, a cut lemon and grapes on a cloth."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from samples.canvas import Array, Index, filmic, smoothstep
from samples.noise import fbm, fbm3, value
from samples.rays import Camera, cast, dot, unit

CAMERA = Camera(position=(0.0, 2.55, -6.6), target=(0.0, 0.92, 0.0), tangent=0.315)
WINDOW = unit(np.array([-0.78, 0.62, -0.42]))
WINDOW_RIGHT = unit(np.cross([0.0, 1.0, 0.0], WINDOW))
WINDOW_UP = np.cross(WINDOW, WINDOW_RIGHT)
SUNLIGHT = np.array([1.0, 0.87, 0.68])[:, None] * 3.3
FILL = np.array([0.30, 0.36, 0.48])[:, None] * 0.34
BOUNCE = np.array([0.55, 0.36, 0.20])[:, None] * 0.22

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


def _ball(p: Array, x: float, y: float, z: float, radius: float) -> Array:
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
        best = np.minimum(best, _ball(p, x, y + 0.05, z, radius))
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
    """One kind of thing: its distance function, and a ball that holds it (none for what fills the room)."""

    distance: Callable[[Array], Array]
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = np.inf

    def __call__(self, p: Array) -> Array:
        """The distance to the thing, or, well away from its ball, a lower bound of it."""
        if np.isinf(self.radius):
            return self.distance(p)
        bound = _ball(p, *self.centre, self.radius) + 0.12
        near = np.flatnonzero(bound < 0.30)
        if near.size:
            bound[near] = self.distance(p[:, near])
        return bound


def _oranges(p: Array) -> Array:
    return np.asarray(np.minimum.reduce([_ball(p, *orange) for orange in ORANGES]))


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


def _distance(p: Array) -> Array:
    return np.asarray(np.minimum.reduce([part(p) for part in PARTS.values()]))


def _kind(p: Array) -> Index:
    return np.asarray(np.argmin(np.stack([part(p) for part in PARTS.values()]), axis=0))


def _march(origin: Array, ray: Array) -> Array:
    """Distance along each ray to the first surface, at most 16."""
    t = np.full(ray.shape[1], 3.2, dtype=np.float32)
    active = np.arange(ray.shape[1])
    for _ in range(90):
        gap = _distance(origin[:, active] + ray[:, active] * t[active])
        t[active] += gap
        active = active[(gap > 0.0007) & (t[active] < 16)]
        if not active.size:
            break
    return t


def _normal(p: Array) -> Array:
    """From four distances at the corners of a tetrahedron."""
    total = np.zeros_like(p)
    for corner in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
        offset = np.array(corner, dtype=np.float32)[:, None]
        total += offset * _distance(p + 0.0025 * offset)
    return unit(total + 1e-12)


def _lit(p: Array) -> Array:
    """Share of the window that a point sees: wide and soft, for the window is near."""
    light, t = np.ones(p.shape[1]), np.full(p.shape[1], 0.04)
    for _ in range(26):
        gap = _distance(p + WINDOW[:, None] * t)
        light = np.minimum(light, np.clip(0.5 + 3.6 * gap / t, 0, 1))
        t = t + np.clip(gap, 0.035, 0.35)
    return np.asarray(light * light * (3 - 2 * light))


def _open(p: Array, normal: Array) -> Array:
    """How little the surroundings close a point in, 0..1."""
    closed = np.zeros(p.shape[1])
    for step, weight in ((0.05, 1.0), (0.14, 0.8), (0.32, 0.55), (0.6, 0.3)):
        closed += weight * np.clip(step - _distance(p + normal * step), 0, None) / step
    return np.asarray(np.clip(1 - 0.42 * closed, 0.05, 1))


def _room(ray: Array) -> Array:
    """What polished things mirror: a bright window with bars, a dim room, the table below."""
    facing = dot(ray, WINDOW)
    u, v = dot(ray, WINDOW_RIGHT) / np.maximum(facing, 0.05), dot(ray, WINDOW_UP) / np.maximum(facing, 0.05)
    inside = smoothstep(0.34, 0.30, np.abs(u)) * smoothstep(0.44, 0.40, np.abs(v)) * (facing > 0)
    bars = smoothstep(0.020, 0.035, np.abs(u)) * smoothstep(0.020, 0.035, np.abs(v))
    room = np.array([0.060, 0.055, 0.050])[:, None] + np.array([0.20, 0.125, 0.065])[:, None] * smoothstep(
        0.05, -0.5, ray[1]
    )
    glow = np.array([0.30, 0.27, 0.22])[:, None] * np.clip(facing, 0, 1) ** 3
    return np.asarray(room + glow + np.array([1.0, 0.95, 0.86])[:, None] * 6.0 * inside * bars)


def _pigment(p: Array, kind: Index, normal: Array) -> tuple[Array, Array, Array]:
    """Colour (3, n), mirror strength (n,) and roughness of grain (n,) for each point by what it lies on."""
    x, y, z = p
    albedo, gloss, bump = np.zeros_like(p), np.zeros_like(x), np.zeros_like(x)

    def paint(part: int, colour: Array, shine: float, grain: float) -> None:
        at = kind == part
        albedo[:, at] = colour[:, at]
        gloss[at], bump[at] = shine, grain

    def tint(red: float, green: float, blue: float) -> Array:
        return np.array([red, green, blue])[:, None]

    plank = np.floor((z + 3) / 0.62)
    rings = fbm(x * 0.7 + plank * 7, z * 9 + 1.5 * fbm(x * 0.8, z * 2, 3) + y * 9, 5)
    seam = smoothstep(0.0, 0.03, np.abs(np.mod((z + 3) / 0.62, 1) - 0.5) - 0.465)
    wood = (
        tint(0.30, 0.145, 0.060)
        * (0.45 + 1.15 * rings)
        * (1 - 0.75 * seam)
        * (0.85 + 0.3 * value(plank, plank))
    )
    paint(TABLE, wood, 0.10, 0.25)
    plaster = fbm(x * 0.8, y * 0.8, 5)
    paint(WALL, tint(0.115, 0.120, 0.085) * (0.55 + 0.9 * plaster), 0.0, 0.25)
    weave = 0.90 + 0.10 * np.sin(x * 150) * np.sin((z + y) * 150)
    stripe = np.mod(x * 1.0 - 0.42 * z + 0.05, 0.86)
    band = ((stripe < 0.10) | ((stripe > 0.15) & (stripe < 0.18))).astype(np.float32)
    linen = tint(0.74, 0.68, 0.56) * (1 - band) + tint(0.42, 0.06, 0.05) * band
    paint(CLOTH, linen * weave * (0.85 + 0.3 * fbm(x * 3, z * 3 + y * 3, 3)), 0.0, 0.3)
    angle = np.arctan2(z - JUG_AT[2], x - JUG_AT[0])
    glaze = tint(0.030, 0.105, 0.26) * (0.55 + 1.0 * fbm(angle * 3 + 9, y * 3, 5))
    cream = tint(0.62, 0.56, 0.42) * (0.8 + 0.4 * fbm(angle * 5, y * 5, 3))
    drip = smoothstep(0.0, 0.03, y - 0.40 - 0.16 * value(angle * 4, angle * 0) - 0.05 * np.sin(angle * 13))
    petal = np.hypot(np.mod(angle * 6 / np.pi, 1) - 0.5, (y - 1.05) * 3.1)
    flower = smoothstep(0.03, 0.0, np.abs(petal - 0.34)) + smoothstep(0.13, 0.10, petal)
    line = (
        smoothstep(0.018, 0.008, np.abs(y - 1.34))
        + smoothstep(0.018, 0.008, np.abs(y - 0.77))
        + smoothstep(0.03, 0.015, np.abs(y - 2.36))
    )
    marks = np.clip(flower * (np.abs(y - 1.05) < 0.2) + line, 0, 1) * (x < JUG_AT[0] + 0.78)
    ware = cream * (1 - drip) + (glaze * (1 - marks) + cream * 1.05 * marks) * drip
    paint(JUG, ware, 0.09, 0.05)
    hammered = fbm(np.arctan2(z - BOWL_AT[2], x - BOWL_AT[0]) * 7, y * 12, 2)
    paint(BOWL, tint(0.50, 0.215, 0.105) * (0.7 + 0.5 * hammered), 0.55, 0.10)
    pores = fbm3(x * 26, y * 26, z * 26, 2)
    paint(ORANGE, tint(0.80, 0.215, 0.012) * (0.9 + 0.2 * pores), 0.05, 0.28)
    streak = fbm(np.arctan2(z, x - 0.3) * 9 + x * 20, y * 2.5, 4)
    blush = smoothstep(0.22, 0.66, streak * 0.45 + 0.5 * fbm3(x * 2.2, y * 2.2, z * 2.2, 3) + 0.08)
    skin = tint(0.66, 0.50, 0.09) * (1 - blush) + tint(0.48, 0.020, 0.025) * blush
    paint(APPLE, skin, 0.07, 0.05)
    freckle = smoothstep(0.68, 0.78, fbm3(x * 21, y * 21, z * 21, 2))
    rosy = smoothstep(0.42, 0.66, fbm3(x * 1.7 + 2, y * 1.7, z * 1.7, 3) + 0.10 * (x > 0))
    pear = tint(0.56, 0.52, 0.10) * (1 - 0.7 * rosy) + tint(0.56, 0.20, 0.05) * 0.7 * rosy
    paint(PEAR, pear * (1 - 0.45 * freckle), 0.045, 0.15)
    paint(LEMON, tint(0.86, 0.64, 0.045) * (0.88 + 0.24 * pores), 0.05, 0.3)
    q = p - np.array(LEMON_HALF)[:, None]
    face = (kind == LEMON) & (dot(q, CUT) > 0.008) & (np.sqrt(dot(q, q)) < 0.30)
    side, up = unit(np.cross([0.0, 1.0, 0.0], CUT)), np.cross(CUT, unit(np.cross([0.0, 1.0, 0.0], CUT)))
    u, v = dot(q, side), dot(q, up)
    ring, spoke = np.hypot(u, v), np.abs(np.mod(np.arctan2(v, u) / (2 * np.pi) * 9, 1) - 0.5)
    flesh = (
        smoothstep(0.225, 0.21, ring)
        * smoothstep(0.028, 0.045, ring)
        * smoothstep(0.47, 0.42, spoke + 0.004 / (ring + 0.02))
    )
    juicy = tint(0.88, 0.74, 0.19) * (0.7 + 0.6 * fbm(u * 60, v * 60, 3))
    albedo[:, face] = (tint(0.90, 0.86, 0.66) * (1 - flesh) + juicy * flesh)[:, face]
    bloom = smoothstep(0.45, 0.7, fbm3(x * 7, y * 7, z * 7, 3)) * np.clip(normal[1] + 0.4, 0, 1)
    grape = (
        tint(0.095, 0.018, 0.075) * (0.6 + 0.9 * value(np.floor(x * 6), np.floor(z * 6))) * (1 - bloom)
        + tint(0.22, 0.20, 0.34) * bloom
    )
    paint(GRAPE, grape, 0.06, 0.0)
    paint(STEM, tint(0.16, 0.09, 0.04) * (0.7 + 0.6 * fbm(x * 30, y * 30, 2)), 0.0, 0.2)
    vein = smoothstep(0.55, 0.75, fbm(x * 20, z * 20, 2))
    paint(LEAF, tint(0.055, 0.17, 0.035) * (0.7 + 0.7 * vein), 0.05, 0.1)
    return albedo, gloss, bump


def _shade(x: Array, y: Array) -> Array:
    ray = CAMERA.directions(x, y)
    origin = np.repeat(np.array(CAMERA.position, dtype=np.float32)[:, None], ray.shape[1], axis=1)
    p = origin + ray * np.minimum(_march(origin, ray), 16)
    normal, kind = _normal(p), _kind(p)
    albedo, gloss, grain = _pigment(p, kind, normal)
    fine = np.stack([fbm3(p[0] * 24 + k * 7, p[1] * 24, p[2] * 24, 2) - 0.5 for k in range(3)])
    normal = unit(normal + fine * grain * 0.55)
    start = p + normal * 0.012
    sun, free = _lit(start), _open(p, normal)
    facing = dot(normal, WINDOW)
    juicy = np.isin(kind, (GRAPE, ORANGE, LEMON, LEAF)) * 0.18
    direct = np.clip((facing + juicy) / (1 + juicy), 0, 1) * sun
    patch = 0.30 + 0.70 * smoothstep(2.2, -0.4, np.abs(p[1] - 1.15 - 0.33 * p[0])) * smoothstep(
        3.9, 0.6, np.abs(p[0] - 0.7)
    )
    direct = np.where(kind == WALL, direct * patch * 0.9, direct)
    ambient = FILL * (0.55 + 0.45 * normal[1]) + BOUNCE * np.clip(0.5 - 0.5 * normal[1], 0, 1)
    colour = albedo * (SUNLIGHT * direct + ambient * free * 1.25)
    cosine = np.clip(-dot(ray, normal), 0, 1)
    mirror = unit(ray + 2 * cosine * normal)
    fresnel = gloss + (1 - gloss) * 0.5 * (1 - cosine) ** 5 * (gloss > 0.01)
    shine = _room(mirror) * fresnel * (0.25 + 0.75 * np.maximum(sun, 0.15)) * free
    metal = kind == BOWL
    colour = np.where(
        metal, albedo * (SUNLIGHT * direct * 0.35 + ambient * free) + shine * albedo * 2.6, colour + shine
    )
    colour = np.where(
        kind == GRAPE,
        colour
        + np.array([0.16, 0.02, 0.05])[:, None] * sun * np.clip(-facing + 0.5, 0, 1) * (1 - cosine) ** 2,
        colour,
    )
    vignette = 1 - 0.38 * smoothstep(0.7, 1.9, np.hypot(x * 0.95, y))
    return filmic(colour * vignette, 0.80)


def draw(size: int) -> Array:
    """The still life at `size` pixels wide and two thirds as high."""
    return cast(_shade, size, size * 2 // 3)

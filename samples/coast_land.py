"""The land of the coast: its height field, the lighthouse on it, and rays marched to them.

Points are (3, n) in metres: east, up, north. Light and colour are left to the picture.
"""

from functools import cache

import numpy as np

from samples.canvas import Array, smoothstep
from samples.noise import fbm
from samples.rays import unit

SUN = unit(np.array([0.74, 0.46, -0.10]))

WEST, EAST, SOUTH, NORTH = -100.0, 60.0, -20.0, 125.0
CELL = 0.15
STACKS = (
    (27.0, 52.0, 3.6, 10.5), (38.0, 52.0, 2.6, 6.0), (24.5, 28.0, 1.9, 2.6), (33.0, 66.0, 3.0, 8.5),
    (-11.5, 17.0, 1.3, 2.9), (-8.6, 21.0, 0.8, 2.3), (-14.5, 27.0, 1.5, 3.3), (-3.2, 9.0, 0.6, 2.0),
    (-15.0, 13.0, 0.7, 2.2), (-9.5, 33.0, 1.0, 2.2), (0.5, 52.0, 1.6, 3.0), (9.0, 55.0, 1.3, 2.6),
    (-4.0, 47.0, 1.0, 2.4), (16.0, 55.0, 1.8, 3.2),
)  # fmt: skip
"""Sea stacks and boulders as (x, z, radius, height) in metres."""
LIGHTHOUSE = (10.0, 72.0)


def _height(x: Array, z: Array) -> Array:
    """Metres above the sea, from the distance inland of a shoreline that bends into a bay and a headland."""
    headland = np.exp(-(((z - 72) / 15) ** 2))
    shore = -5 - 9 * np.sin(np.clip(z, 0, 60) * 0.052) + 36 * headland
    shore = shore - 30 * smoothstep(88.0, 110.0, z)
    broad = fbm(x * 0.045 + 3, z * 0.045, 6) * 2 - 1
    inland = shore - x + 9.0 * broad
    beach = 9.5 - 8.0 * headland
    crag = fbm(x * 0.21, z * 0.21, 5) * 2 - 1
    tall = 3.2 + 10.0 * headland + 5 * smoothstep(20.0, 55.0, z)
    gully = np.abs(fbm(x * 0.12 + 5, z * 0.12, 4) * 2 - 1)
    rise = smoothstep(0.0, 5.5, inland - beach + 3.0 * crag + 9.0 * gully - 2.5)
    up = np.maximum(inland - beach, 0.0)
    land = tall * rise * (0.86 + 0.3 * broad) + 0.09 * np.minimum(up, 60.0)
    land = land + 2.2 * crag * rise * (1 - smoothstep(2.0, 11.0, up)) + 0.9 * crag * rise
    sand = np.where(inland < 0, np.maximum(0.16 * inland, -7.0), 0.10 * np.minimum(inland, beach))
    level = sand + land
    for sx, sz, radius, tallness in STACKS:
        at = np.nonzero(np.hypot(x - sx, z - sz) < 3.2 * radius)
        bend = 1 + 0.75 * (fbm(x[at] * 0.35 + sx, z[at] * 0.35, 4) - 0.5)
        away = np.hypot(x[at] - sx, z[at] - sz) / (radius * bend)
        shape = smoothstep(1.15, 0.62, away) * (0.8 + 0.5 * crag[at]) + 0.12 * smoothstep(2.0, 1.0, away)
        level[at] = np.maximum(level[at], tallness * shape - 1.2 + 0.2 * level[at])
    return np.asarray(level)


@cache
def _field() -> Array:
    """The height field tabulated once, (rows along z, columns along x)."""
    z, x = np.meshgrid(np.arange(SOUTH, NORTH, CELL), np.arange(WEST, EAST, CELL), indexing="ij")
    return np.asarray(_height(x.astype(np.float32), z.astype(np.float32)), dtype=np.float32)


def ground(x: Array, z: Array) -> Array:
    """Bilinear look-up of the height field."""
    field = _field()
    rows, columns = field.shape
    u = np.clip((x - WEST) / CELL, 0, columns - 2.001)
    v = np.clip((z - SOUTH) / CELL, 0, rows - 2.001)
    i, j = u.astype(np.int32), v.astype(np.int32)
    fu, fv = u - i, v - j
    flat = field.reshape(-1)
    at = j * columns + i
    near = flat[at] * (1 - fu) + flat[at + 1] * fu
    far = flat[at + columns] * (1 - fu) + flat[at + columns + 1] * fu
    return np.asarray(near * (1 - fv) + far * fv)


def buildings(p: Array) -> Array:
    """Signed distance to the lighthouse and its cottage."""
    x0, z0 = LIGHTHOUSE
    base = float(ground(np.array([x0]), np.array([z0]))[0]) - 0.3
    x, y, z = p[0] - x0, p[1] - base, p[2] - z0
    ring = np.hypot(x, z)
    tower = np.maximum((ring - (1.55 - 0.055 * np.clip(y, 0, 11))) * 0.98, np.abs(y - 5.0) - 5.0)
    gallery = np.maximum(ring - 1.5, np.abs(y - 10.1) - 0.18)
    lantern = np.maximum(ring - 0.75, np.abs(y - 11.1) - 0.9)
    dome = np.maximum(np.hypot(ring, np.maximum(y - 12.0, 0.0) * 0.9) - 0.95, 12.0 - y)
    cx, cz = x + 6.0, z + 1.0
    walls = np.maximum(np.maximum(np.abs(cx) - 2.6, np.abs(cz) - 1.7), np.abs(y - 0.5) - 1.9)
    roof = np.maximum((np.abs(cz) * 0.75 + (y - 2.3)) * 0.8 - 1.15, np.maximum(np.abs(cx) - 2.8, 2.3 - y))
    return np.asarray(np.minimum.reduce([tower, gallery, lantern, dome, walls, roof]))


def march(origin: Array, ray: Array, steps: int, reach: float) -> Array:
    """Distance along each ray to the land or a building, infinite for a miss."""
    count = ray.shape[1]
    distance = np.full(count, np.inf, dtype=np.float32)
    active = np.arange(count)
    travelled = np.full(count, 0.05, dtype=np.float32)
    before = travelled.copy()
    for _ in range(steps):
        p = origin[:, active] + ray[:, active] * travelled[active]
        gap = p[1] - ground(p[0], p[2])
        step = np.minimum(np.maximum(gap * 0.5, 0.0), 6.0)
        beside = np.hypot(p[0] - LIGHTHOUSE[0] + 3, p[2] - LIGHTHOUSE[1]) < 14
        if beside.any():
            built = buildings(p[:, beside])
            step[beside] = np.minimum(step[beside], np.maximum(built, 0.0))
        near = 0.0006 * travelled[active] + 0.002
        hit = step < near
        distance[active[hit]] = travelled[active[hit]]
        moving = active[~hit]
        before[moving] = travelled[moving]
        travelled[active] += np.maximum(step, near)
        alive = ~hit & (travelled[active] < reach) & ((p[1] < 34.0) | (ray[1, active] < 0)) & (p[1] > -8.0)
        active = active[alive]
        if not active.size:
            break
    struck = np.isfinite(distance)
    distance[struck] = _refined(origin[:, struck], ray[:, struck], before[struck], distance[struck])
    return distance


def _refined(origin: Array, ray: Array, outside: Array, inside: Array) -> Array:
    """Halve the last step until it meets the surface: on a cliff one step may end well inside the rock."""
    for _ in range(9):
        middle = 0.5 * (outside + inside)
        p = origin + ray * middle
        above = np.minimum(p[1] - ground(p[0], p[2]), buildings(p)) > 0
        outside, inside = np.where(above, middle, outside), np.where(above, inside, middle)
    return outside


def lit(p: Array) -> Array:
    """How much of the sun reaches each point, 0..1, with soft edges."""
    light = np.ones(p.shape[1], dtype=np.float32)
    t = np.full(p.shape[1], 0.25, dtype=np.float32)
    for _ in range(34):
        q = p + SUN[:, None] * t
        gap = np.minimum(q[1] - ground(q[0], q[2]), buildings(q))
        light = np.minimum(light, np.clip(0.5 + 9.0 * gap / t, 0.0, 1.0))
        t = t + np.clip(gap * 0.6, 0.18, 2.5)
    return light

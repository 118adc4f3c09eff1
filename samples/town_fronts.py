"""The house fronts of the town: party walls, gables, masonry, windows, and the lamps that light them.

Lengths are metres; points are (3, n): right, up, forward. Where the fronts stand is left to the picture.
"""

import numpy as np

from samples.canvas import Array, Index, smoothstep
from samples.noise import fbm, value
from samples.rays import dot, unit

MOON = unit(np.array([-0.255, 0.42, 1.0]))
MOONLIGHT = np.array([0.30, 0.42, 0.75])[:, None] * 0.16
NIGHT = np.array([0.020, 0.034, 0.085])[:, None]
WARM = np.array([1.0, 0.56, 0.20])[:, None]
CANAL, STREET, QUAY = 6.4, 10.4, 1.25
"""Half the width of the canal, half the width between the houses, and the height of the quay, in metres."""
BRIDGE, END = 37.0, 96.0
"""Distances of the bridge and of the square that ends the canal."""
LAMPS = np.array(
    [(-7.2, 4.55, z) for z in np.arange(8.0, 92, 10.5)]
    + [(7.2, 4.55, z) for z in np.arange(12.5, 92, 10.5)]
    + [(-3.4, 6.1, BRIDGE + 1.5), (3.4, 6.1, BRIDGE + 1.5)],
    dtype=np.float32,
)
"""Street lamps as (x, y, z)."""
PAINTS = np.array([
    (0.42, 0.15, 0.09), (0.62, 0.44, 0.22), (0.30, 0.13, 0.10), (0.66, 0.60, 0.48),
    (0.22, 0.28, 0.24), (0.50, 0.22, 0.12), (0.36, 0.36, 0.42), (0.58, 0.34, 0.22),
])  # fmt: skip
SHUTTERS = np.array([(0.05, 0.16, 0.10), (0.22, 0.04, 0.03), (0.05, 0.08, 0.20), (0.12, 0.10, 0.08)])


def scatter(*keys: Array | Index | float) -> Array:
    """A number in 0..1 for whole-number keys, without pattern."""
    mixed = np.asarray(0.0)
    for weight, key in zip((12.9898, 78.233, 37.719, 4.581), keys, strict=False):
        mixed = mixed + weight * np.asarray(key, dtype=np.float64)
    wave = np.sin(mixed) * 43758.5453
    return np.asarray(wave - np.floor(wave))


def _plots(seed: int) -> Array:
    """Where the party walls of a row of houses stand, in metres along the row."""
    return np.cumsum(np.random.default_rng(seed).uniform(4.6, 7.4, 40)) - 9.0


PLOTS = {-1: _plots(1), 1: _plots(2), 0: _plots(3)}


def house(along: Array, row: int) -> tuple[Index, Array, Array, Array]:
    """For points along a row: the house's number, offset from its middle, half width and height of eaves."""
    walls = PLOTS[row]
    number = np.clip(np.searchsorted(walls, along), 1, len(walls) - 1)
    left, right = walls[number - 1], walls[number]
    return number, along - 0.5 * (left + right), 0.5 * (right - left), 7.6 + 4.6 * scatter(number, row, 3.0)


def gable(number: Index, offset: Array, half: Array, eaves: Array, row: int) -> Array:
    """Height of the wall's top edge: pointed, stepped, bell-shaped or flat."""
    s = np.clip(np.abs(offset) / half, 0, 1)
    kind = np.floor(scatter(number, row, 8.0) * 4)
    pointed = 2.9 * (1 - s)
    stepped = np.floor((1 - s) * 5.0) / 5.0 * 3.4 + 0.25
    bell = np.where(
        s < 0.62,
        1.7 + 1.5 * np.cos(np.clip(s / 0.62, 0, 1) * np.pi / 2) ** 0.7,
        0.9 * np.cos((s - 0.62) * 4.0) ** 4,
    )
    flat = 0.7 + 0.25 * (np.abs(s - 0.5) < 0.06)
    edge = np.select([kind == 0, kind == 1, kind == 2], [pointed, stepped, bell], flat)
    chimney = (np.abs(offset - 0.45 * half) < 0.38) * (2.6 + 0.6 * scatter(number, row, 5.0))
    return np.asarray(eaves + np.maximum(edge, chimney))


def lamplight(p: Array, normal: Array) -> Array:
    """Warm light (3, n) that the street lamps throw on surfaces."""
    total = np.zeros(p.shape[1], dtype=np.float32)
    for lamp in LAMPS:
        away = lamp[:, None] - p
        square = dot(away, away)
        facing = np.clip(dot(normal, away) / np.sqrt(square), 0, 1)
        total += facing * 16.0 / (square + 1.2) * np.exp(-0.20 * np.sqrt(square))
    return WARM * total


def front(along: Array, up: Array, row: int, t: Array, p: Array, normal: Array) -> Array:
    """A row of house fronts: brick or plaster, cornices, shutters, doors and windows, some of them lit."""
    number, offset, half, eaves = house(along, row)
    seed = number + 50.0 * row
    paint = PAINTS[np.floor(scatter(seed, 1.0) * len(PAINTS)).astype(int)].T
    sharp = np.clip(1.4 - t / 26, 0, 1)
    course = np.floor(up / 0.16)
    joint = (np.mod(up / 0.16, 1) < 0.14) | (np.mod(along / 0.42 + 0.5 * np.mod(course, 2), 1) < 0.06)
    brick = scatter(np.floor(along / 0.42 + 0.5 * np.mod(course, 2)), course, row)
    bricked = (scatter(seed, 2.0) < 0.6) * sharp
    albedo = paint * (1 + bricked * (0.55 * (brick - 0.5) - 0.35 * joint))
    albedo = (
        albedo
        * (0.70 + 0.6 * fbm(along * 0.9, up * 0.7, 4))
        * (1 - 0.35 * smoothstep(3.2, 1.2, up) * fbm(along, up, 3))
    )
    floor_high = 2.55 + 0.35 * scatter(seed, 6.0)
    level = np.floor((up - QUAY) / floor_high)
    v = (up - QUAY) - (level + 0.52) * floor_high
    columns = np.where(half > 2.9, 3.0, 2.0)
    place = (offset + half) / (2 * half) * columns
    column = np.floor(place)
    u = (place - column - 0.5) * 2 * half / columns
    inside = (up < eaves - 0.35) & (level >= 0)
    attic = (up > eaves + 0.2) & (np.abs(offset) < 0.5) & (up < eaves + 1.35)
    u, v = np.where(attic, offset, u), np.where(attic, up - eaves - 0.78, v)
    wide, tall = np.where(attic, 0.34, 0.50), np.where(attic, 0.50, 0.86)
    front = level == 0
    door = front & (column == np.floor(scatter(seed, 7.0) * columns)) & ~attic
    shop = front & ~door & (scatter(seed, 9.0) < 0.55)
    wide, tall = np.where(shop, 0.80, wide), np.where(shop, 0.92, tall)
    tall, v = np.where(door, 1.08, tall), np.where(door, v + 0.20, v)
    arch = np.where(scatter(seed, 11.0) < 0.4, 0.25 * (1 - (u / wide) ** 2), 0.0)
    pane = (np.abs(u) < wide) & (v > -tall) & (v < tall - 0.22 + arch) & (inside | attic)
    frame = (
        (np.abs(u) < wide + 0.13) & (v > -tall - 0.15) & (v < tall - 0.09 + arch) & (inside | attic) & ~pane
    )
    shutter = (
        (np.abs(np.abs(u) - wide - 0.36) < 0.23)
        & (np.abs(v + 0.1) < tall - 0.1)
        & inside
        & ~front
        & (scatter(seed, 12.0) < 0.6)
    )
    slats = 0.75 + 0.35 * (np.mod(v / 0.12, 1) < 0.6) * sharp
    albedo = np.where(shutter, SHUTTERS[np.floor(scatter(seed, 13.0) * 4).astype(int)].T * slats, albedo)
    albedo = np.where(frame, np.array([0.62, 0.58, 0.50])[:, None], albedo)
    cornice = (np.abs(up - eaves) < 0.20) | (np.abs(up - QUAY - floor_high) < 0.10)
    albedo = np.where(cornice, np.array([0.55, 0.50, 0.42])[:, None], albedo)
    rim = gable(number, offset, half, eaves, row) - up
    albedo = np.where(rim < 0.22, np.array([0.50, 0.46, 0.40])[:, None], albedo)
    albedo = np.where(door & pane, SHUTTERS[np.floor(scatter(seed, 14.0) * 4).astype(int)].T * 1.3, albedo)
    gap = np.minimum(half - np.abs(offset), 0.14) / 0.14
    light = lamplight(p, normal) + MOONLIGHT * (0.35 + 0.65 * np.clip(dot(normal, MOON), 0, 1)) + NIGHT * 1.1
    spill = (
        0.30 * np.exp(-np.maximum(np.abs(u) - wide, 0) * 2.2) * np.exp(-np.maximum(np.abs(v) - tall, 0) * 2.0)
    )
    window = np.where(attic, 90.0, column + 10 * level)
    chance = scatter(seed, window, 1.0)
    on = (chance < np.where(front, 0.85, np.where(attic, 0.35, 0.56))) & ~door
    light = light + WARM * 0.5 * spill * on * (inside | attic)
    colour = albedo * light * (0.35 + 0.65 * gap)
    tone = scatter(seed, window, 2.0)
    glow = np.stack([np.ones_like(tone), 0.44 + 0.24 * tone, 0.08 + 0.24 * tone**2]) * (
        0.65 + 1.15 * scatter(seed, window, 3.0)
    )
    bars = (np.abs(u) < 0.035) | (np.abs(v - 0.12) < 0.035) | (shop & (np.abs(np.abs(u) - 0.4) < 0.03))
    curtain = smoothstep(0.35, 1.0, np.abs(u) / wide + 0.10 * np.sin(v * 4)) * (tone > 0.35)
    folds = 1 - curtain * (0.45 + 0.2 * np.sin(u * 46))
    things = (v < -tall + 0.30 + 0.5 * value(u * 5 + seed, window)) * (scatter(seed, window, 4.0) < 0.6)
    inner = (
        glow
        * (0.62 + 0.5 * smoothstep(-1.0, 0.7, v / tall))
        * folds
        * (1 - 0.72 * things)
        * (1 - 0.85 * bars)
    )
    dark = np.array([0.030, 0.045, 0.085])[:, None] * (0.5 + fbm(along * 2, up * 2, 2)) * (1 - 0.5 * bars)
    fan = door & pane & (v > tall - 0.62)
    colour = np.where(pane & ~door, np.where(on, inner * 1.15, dark), colour)
    return np.asarray(np.where(fan, np.array([1.0, 0.62, 0.25])[:, None] * 1.1, colour))

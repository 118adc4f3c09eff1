"""A night of brushwork: swirls and glowing discs over dark hills and water, in long impasto strokes."""

import numpy as np

from samples.canvas import Array, gradient, grid, hexcolour, mix, resize, smoothstep
from samples.noise import fbm
from samples.strokes import Brush, Painting, follow

SWIRLS = (
    (0.52, 0.30, 0.20, 1.0),
    (0.93, 0.40, 0.15, -1.0),
    (0.20, 0.47, 0.12, -1.0),
    (1.36, 0.52, 0.13, 1.0),
)
"""Whirls of air as (x, y, radius, turn)."""
DISCS = (
    (1.24, 0.17, 0.070), (0.13, 0.14, 0.034), (0.36, 0.09, 0.022), (0.79, 0.13, 0.030), (0.98, 0.21, 0.018),
    (0.40, 0.53, 0.018), (0.70, 0.50, 0.024), (1.43, 0.33, 0.022), (1.08, 0.54, 0.018), (0.05, 0.34, 0.020),
)  # fmt: skip
"""The moon and stars as (x, y, radius)."""
SHORE, SEED = 0.79, 5
SKY = [
    (0.0, hexcolour("#0b1440")),
    (0.28, hexcolour("#14297a")),
    (0.5, hexcolour("#2350a8")),
    (0.68, hexcolour("#3f86c4")),
    (0.84, hexcolour("#86bfcf")),
    (1.0, hexcolour("#dfe3b4")),
]
GLOW = [
    (0.0, hexcolour("#fff6cf")),
    (0.35, hexcolour("#ffdf6b")),
    (0.7, hexcolour("#f2ac2e")),
    (1.0, hexcolour("#c98a3a")),
]
LAND = [
    (0.0, hexcolour("#070d22")),
    (0.4, hexcolour("#10294a")),
    (0.7, hexcolour("#1d4f58")),
    (1.0, hexcolour("#5c8a5a")),
]


def _hill(x: Array | float, row: int) -> Array:
    """Height on the picture of the top of a row of hills, far (0) to near (2)."""
    x = np.asarray(x, dtype=np.float64)
    top = (0.665, 0.715, 0.755)[row] + (0.045, 0.04, 0.03)[row] * np.sin(
        x * (4.1, 5.3, 3.4)[row] + (0.4, 2.6, 5.0)[row]
    )
    return np.asarray(top + 0.014 * np.sin(x * 11 + row))


def _tree(x: Array, y: Array) -> Array:
    """1 inside the dark flame-shaped trees and the bank that they stand on, 0 outside."""
    cover = np.zeros_like(x)
    for cx, top, wide in ((0.215, 0.25, 0.088), (0.330, 0.50, 0.060), (0.105, 0.56, 0.062)):
        t = (y - top) / (1.0 - top)
        sway = cx + 0.016 * np.sin(9 * t + cx * 20)
        reach = (
            wide
            * np.clip(t, 0, 1) ** 0.75
            * (1.08 - 0.45 * np.clip(t, 0, 1) ** 3)
            * (1 + 0.16 * np.sin(26 * t + 8 * x))
        )
        cover = np.maximum(cover, ((np.abs(x - sway) < reach) & (t > 0) & (t < 1)).astype(cover.dtype))
    bank = 0.925 + 0.05 * smoothstep(0.1, 0.8, x) + 0.012 * np.sin(x * 23)
    return np.maximum(cover, (y > bank).astype(cover.dtype))


def _direction(x: float, y: float) -> tuple[float, float]:
    """Where paint runs in the sky, over the hills and on the water."""
    if y > SHORE:
        return 1.0, 0.10 * float(np.sin(x * 17 + y * 40))
    tops = [float(_hill(x, row)) for row in range(3)]
    for row in (2, 1, 0):
        if y > tops[row]:
            slope = (float(_hill(x + 0.01, row)) - tops[row]) / 0.01
            return 1.0, slope + 2.2 * (y - tops[row])
    dx, dy = 1.0, 0.26 * float(np.cos(x * 5.0 + 1.0)) + 0.16 * float(np.sin(x * 9 - y * 8))
    for sx, sy, radius, turn in SWIRLS:
        ox, oy = x - sx, y - sy
        away = float(np.hypot(ox, oy)) / radius
        pull = 7.0 * float(np.exp(-((away / 0.95) ** 2.4)))
        dx += pull * turn * (-oy / radius - 0.22 * turn * ox / radius)
        dy += pull * turn * (ox / radius - 0.22 * turn * oy / radius)
    for sx, sy, radius in DISCS:
        ox, oy = x - sx, y - sy
        away = float(np.hypot(ox, oy)) / radius
        pull = 16.0 * float(np.exp(-((away / 2.5) ** 2.0)))
        dx, dy = dx - pull * oy / radius / (away + 0.3), dy + pull * ox / radius / (away + 0.3)
    return dx, dy


def _target(x: Array, y: Array) -> Array:
    """The colours that strokes pick up at points of any one shape."""
    tone = 0.12 + 0.50 * y + 0.42 * (fbm(x * 3.2, y * 7.5, 3) - 0.5)
    for sx, sy, radius, turn in SWIRLS:
        away = np.hypot(x - sx, y - sy) / radius
        angle = np.arctan2(y - sy, x - sx)
        arms = 0.5 + 0.5 * np.cos(2 * angle * turn - 9.0 * away + 1.0)
        tone = tone + np.exp(-((away / 1.05) ** 3)) * (
            0.50 * arms - 0.10 + 0.16 * np.exp(-((away / 0.3) ** 2))
        )
    sky = gradient(SKY, np.clip(tone, 0, 0.98))
    for sx, sy, radius in DISCS:
        away = np.hypot(x - sx, y - sy) / radius
        rings = 0.5 + 0.5 * np.cos(away * 5.2)
        halo = np.exp(-((away / 2.5) ** 2)) * (0.55 + 0.45 * rings)
        sky = mix(sky, hexcolour("#b9d6a0"), np.clip(0.85 * halo, 0, 1))
        sky = mix(sky, gradient(GLOW, away / 1.5), smoothstep(1.6, 1.2, away))
    mx, my, radius = DISCS[0]
    crescent = (np.hypot(x - mx, y - my) < radius * 1.05) & (
        np.hypot(x - mx + 0.030, y - my - 0.012) > radius * 0.80
    )
    sky = mix(sky, hexcolour("#f08c1e"), 0.75 * crescent.astype(np.float32))
    picture = sky
    for row in range(3):
        top = _hill(x, row)
        lightness = (0.62, 0.42, 0.22)[row] + 0.55 * np.exp(-(y - top) * 38) * (0.9, 0.7, 0.5)[row]
        ground = gradient(LAND, np.clip(lightness + 0.5 * (fbm(x * 9, y * 22 + row, 3) - 0.5), 0, 1))
        picture = np.where((y > top)[..., None], ground, picture)
    ripple = fbm(x * 5, y * 46, 3)
    water = gradient(SKY, np.clip(0.18 + 0.55 * (ripple - 0.35) + 0.25 * (1 - y), 0, 1))
    for sx, _, radius in (DISCS[0], DISCS[3], DISCS[6]):
        wide = radius * (0.45 + 1.8 * (y - SHORE)) + 0.010
        path = np.exp(-(((x - sx) / wide) ** 2)) * smoothstep(
            0.34, 0.6, ripple + 0.22 * np.exp(-(((x - sx) / wide) ** 2))
        )
        water = mix(water, hexcolour("#f5c451"), np.clip(1.1 * path, 0, 1))
    picture = np.where((y > SHORE)[..., None], water, picture)
    for wx in (0.52, 0.60, 0.655, 0.74, 0.86, 0.91, 1.01, 1.13):
        wy = SHORE - 0.016 - 0.012 * np.sin(wx * 40)
        lamp = np.exp(-(((x - wx) / 0.009) ** 2) - ((y - wy) / 0.011) ** 2)
        streak = (
            np.exp(-(((x - wx) / 0.008) ** 2))
            * smoothstep(SHORE, SHORE + 0.01, y)
            * np.exp(-(y - SHORE) * 9)
            * 0.8
        )
        picture = mix(
            picture, hexcolour("#ffb52e"), np.clip(1.5 * lamp + streak * smoothstep(0.3, 0.5, ripple), 0, 1)
        )
    dark = gradient(LAND, np.clip(0.16 + 0.95 * (fbm(x * 30, y * 6, 3) - 0.42), 0, 0.85))
    return np.asarray(np.where((_tree(x, y) > 0)[..., None], dark, picture))


def _layers() -> list[tuple[Brush, int]]:
    """Brushes from the large to the small, with how many strokes each lays."""
    return [
        (Brush(0.060, 0.30, body=0.5, streaks=0.16), 520),
        (Brush(0.030, 0.17, body=0.9, streaks=0.18), 1900),
        (Brush(0.018, 0.105, body=1.3, streaks=0.20), 3600),
        (Brush(0.011, 0.062, body=1.9, streaks=0.20), 4200),
    ]


def _busy(x: Array, y: Array) -> Array:
    """Where the smallest brush works: around discs, swirls, lamps and edges, 0..1."""
    busy = np.full_like(x, 0.18)
    for sx, sy, radius in DISCS:
        busy = np.maximum(busy, np.exp(-((np.hypot(x - sx, y - sy) / (2.6 * radius)) ** 2)))
    for sx, sy, radius, _ in SWIRLS:
        busy = np.maximum(busy, 0.6 * np.exp(-((np.hypot(x - sx, y - sy) / radius) ** 2)))
    return np.asarray(
        np.maximum(busy, np.maximum(0.9 * np.exp(-(((y - SHORE) / 0.05) ** 2)), 0.8 * _tree(x, y)))
    )


def draw(size: int) -> Array:
    """The night at `size` pixels wide and two thirds as high, painted twice as large."""
    width, height = 2 * size, 2 * (size * 2 // 3)
    rng = np.random.default_rng(SEED)
    xs, ys = grid(width, height)
    painting = Painting(width, height, 0.6 * _target(xs, ys) + 0.4 * np.array(hexcolour("#1a2450")))
    for level, (brush, count) in enumerate(_layers()):
        x, y = rng.uniform(-0.03, 1.53, count), rng.uniform(-0.03, 1.03, count)
        if level == 3:
            keep = rng.random(count) < _busy(x, y)
            x, y = x[keep], y[keep]
        colours = _target(x, y)
        jitter = rng.normal(0, 0.045, (len(x), 3)) + rng.normal(0, 0.05, (len(x), 1))
        upright = _tree(x, y) > 0
        for px, py, colour, shift, tall in zip(x, y, colours, jitter, upright, strict=True):
            length = brush.length * float(rng.uniform(0.6, 1.25))
            if tall and level == 0:
                continue
            if tall:
                path = follow(lambda a, b: (0.25 * float(np.sin(30 * b + 20 * a)), 1.0), px, py, length * 0.7)
            else:
                path = follow(_direction, px, py, length * (0.7 if py > 0.64 else 1.0))
            if rng.random() < 0.5:
                path = path[::-1]
            painting.stroke(
                path, np.clip(colour * (1 + shift) + shift * 0.4, 0, 1), brush, float(rng.uniform(0, 200))
            )
    return resize(painting.lit(), size, height // 2)

"""A river park in sunlight, built from dots of several sizes in broken and complementary colours."""

import numpy as np

from samples.canvas import Array, Mask, gradient, grid, hexcolour, mix, relief, resize, smoothstep
from samples.noise import fbm

SEED = 21
BANK = 0.40
"""Height on the picture of the far bank's waterline."""
DOTS = (
    (0.0220, 0.0150, True),
    (0.0170, 0.0100, True),
    (0.0150, 0.0078, True),
    (0.0150, 0.0062, True),
    (0.0160, 0.0048, True),
    (0.0078, 0.0044, False),
)
"""Layers of dots as (spacing, radius, whether they cover more than the details), in picture heights."""
SKY = [(0.0, hexcolour("#6fa3dc")), (0.55, hexcolour("#a9cdea")), (1.0, hexcolour("#f6e3bd"))]
LEAVES = [
    (0.0, hexcolour("#1c3b34")),
    (0.35, hexcolour("#2f6a38")),
    (0.65, hexcolour("#7fa63a")),
    (1.0, hexcolour("#e8d65a")),
]
LAWN = [
    (0.0, hexcolour("#27594a")),
    (0.4, hexcolour("#5c9a3c")),
    (0.75, hexcolour("#b6c94a")),
    (1.0, hexcolour("#f3e27a")),
]
RIVER = [(0.0, hexcolour("#2a5a94")), (0.5, hexcolour("#5f9fcf")), (1.0, hexcolour("#d9ecec"))]


def _ellipse(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> Array:
    """Below 1 inside an ellipse."""
    return np.asarray(np.hypot((x - cx) / rx, (y - cy) / ry))


def _shore(x: Array) -> Array:
    """Height on the picture of the near bank, which sweeps up to the right."""
    return np.asarray(0.80 - 0.30 * smoothstep(0.15, 1.25, x) + 0.012 * np.sin(x * 9))


def _far(x: Array, y: Array) -> Array:
    """Sky, far trees and houses: what stands above the waterline and what the river mirrors."""
    cloud = fbm(x * 2.2, y * 5.0, 4)
    picture = gradient(SKY, np.clip(y / BANK, 0, 1))
    picture = mix(picture, hexcolour("#fff6e4"), 0.85 * smoothstep(0.50, 0.66, cloud))
    ridge = BANK - 0.085 - 0.03 * np.sin(x * 4.0 + 1) - 0.05 * fbm(x * 6, x * 0 + 1, 3)
    picture = np.where(
        (y > ridge)[..., None],
        mix(hexcolour("#7d9cc0"), hexcolour("#93b58a"), smoothstep(0.0, 0.1, y - ridge)),
        picture,
    )
    for hx, wide, tall, roof in (
        (0.50, 0.045, 0.060, "#cf5b3c"),
        (0.61, 0.035, 0.045, "#d9743f"),
        (1.02, 0.05, 0.055, "#c4503e"),
    ):
        wall = (np.abs(x - hx) < wide) & (y > BANK - tall) & (y < BANK)
        lit = np.where((x > hx - wide * 0.2)[..., None], hexcolour("#fdeecb"), hexcolour("#c9b4c8"))
        picture = np.where(wall[..., None], lit, picture)
        cap = (
            (np.abs(x - hx) < (y - (BANK - tall - 0.035)) * wide / 0.03)
            & (y < BANK - tall)
            & (np.abs(x - hx) < wide * 1.15)
        )
        picture = np.where(cap[..., None], hexcolour(roof), picture)
    for tx, top, wide in (
        (0.36, 0.235, 0.030),
        (0.42, 0.265, 0.026),
        (0.75, 0.24, 0.026),
        (0.80, 0.21, 0.030),
        (0.86, 0.25, 0.028),
        (1.16, 0.25, 0.028),
    ):
        t = (y - top) / (BANK - top)
        poplar = (np.abs(x - tx) < wide * np.clip(t, 0, 1) ** 0.6 * (1.15 - 0.5 * t)) & (t > 0) & (t < 1)
        shade = gradient(
            LEAVES, np.clip(0.5 + (x - tx) / wide * 0.35 + 0.5 * (fbm(x * 40, y * 25, 2) - 0.5), 0, 1)
        )
        picture = np.where(poplar[..., None], shade, picture)
    bushes = BANK - 0.022 - 0.02 * fbm(x * 14, x * 0 + 4, 2)
    shade = gradient(LEAVES, np.clip(0.35 + 0.9 * (fbm(x * 30, y * 30, 3) - 0.35), 0, 1))
    return np.where(((y > bushes) & (y < BANK + 0.004))[..., None], shade, picture)


def _river(x: Array, y: Array) -> Array:
    """Water with the far bank mirrored, broken by bands of light."""
    ripple = fbm(x * 6, y * 60, 3)
    sway = 0.02 * (ripple - 0.5) * smoothstep(BANK, 0.8, y)
    mirror = _far(x + sway * 2, np.clip(BANK - (y - BANK) * 0.85 + sway, 0.0, BANK - 0.001))
    water = gradient(RIVER, np.clip(0.25 + 1.1 * (ripple - 0.35), 0, 1))
    picture = mix(mirror, water, 0.35 + 0.35 * smoothstep(BANK, 0.75, y))
    glint = smoothstep(0.64, 0.74, ripple) * np.exp(-(((x - 0.95) / 0.30) ** 2))
    return mix(picture, hexcolour("#fff3c2"), 0.85 * glint)


def _boats(picture: Array, x: Array, y: Array) -> Array:
    """Sailing boats with their wakes of mirrored light."""
    for bx, by, mast in ((0.64, 0.50, 0.27), (0.99, 0.445, 0.15), (0.27, 0.455, 0.13)):
        u, v = (x - bx) / mast, (by - y) / mast
        sail = (v > 0.10) & (v < 1) & (u > 0.02) & (u < 0.52 * (1 - v) * (1 + 0.3 * v))
        jib = (v > 0.10) & (v < 0.85) & (u < -0.01) & (u > -0.34 * (0.85 - v))
        hull = (np.abs(v - 0.02) < 0.06) & (u > -0.40 - 0.9 * v) & (u < 0.55 + 0.5 * v)
        white = mix(hexcolour("#fff9e6"), hexcolour("#f2c7a0"), np.clip(u * 2, 0, 1))
        picture = np.where((sail | jib)[..., None], white, picture)
        picture = np.where(hull[..., None], hexcolour("#9c2f35"), picture)
        wake = (v < -0.05) & (v > -0.55) & (np.abs(u) < 0.34 + v * 0.4 + 0.1 * np.sin(v * 60))
        picture = mix(picture, hexcolour("#f9e9cf"), 0.65 * wake.astype(np.float32))
    return picture


def _lawn(x: Array, y: Array) -> Array:
    """Grass in sun and in the long shadows of the trees, a sandy path, and flowers."""
    depth = (y - _shore(x)) / 0.3
    shadow = np.zeros_like(x)
    for cx, cy, rx, ry in (
        (0.28, 0.93, 0.34, 0.05),
        (1.30, 0.66, 0.26, 0.032),
        (1.18, 0.90, 0.40, 0.035),
        (0.75, 0.99, 0.3, 0.03),
    ):
        edge = _ellipse(x, y, cx, cy, rx, ry) + 0.7 * (fbm(x * 14, y * 26, 3) - 0.5)
        shadow = np.maximum(shadow, smoothstep(1.1, 0.9, edge))
    light = 0.70 - 0.08 * depth + 0.55 * (fbm(x * 10, y * 24, 3) - 0.5)
    picture = gradient(LAWN, np.clip(light, 0, 1))
    bend = 0.98 + 0.55 * (y - 0.62) - 1.3 * (y - 0.62) ** 2
    path = np.abs(x - bend) < 0.018 + 0.17 * np.clip(y - 0.58, 0, 1)
    sand = mix(hexcolour("#f4d9a4"), hexcolour("#e9b58a"), fbm(x * 22, y * 40, 2))
    picture = np.where((path & (y > 0.60))[..., None], sand, picture)
    shade = mix(hexcolour("#1d4a55"), hexcolour("#2f6b4a"), fbm(x * 12, y * 20, 2))
    picture = mix(picture, shade, 0.82 * shadow)
    flower = smoothstep(0.67, 0.72, fbm(x * 34, y * 52, 2)) * smoothstep(0.2, 0.5, depth)
    hue = gradient(
        [(0.3, hexcolour("#e2483d")), (0.5, hexcolour("#f7d34b")), (0.7, hexcolour("#b86ad0"))],
        fbm(x * 8, y * 8, 2),
    )
    picture = np.where((flower * ~path > 0.5)[..., None], hue, picture)
    rim = smoothstep(0.022, 0.0, np.abs(y - _shore(x)))
    return mix(picture, hexcolour("#35563a"), 0.6 * rim)


def _figures(picture: Array, x: Array, y: Array) -> Array:
    """People on the grass: skirts, coats, hats and parasols, each with a shadow to the right."""
    people = (
        (0.83, 0.80, 0.27, "#8c2f5d", "#f2c14e", "parasol"),
        (0.96, 0.80, 0.275, "#27305e", "#1d2240", "hat"),
        (1.235, 0.625, 0.125, "#d95f43", "#f7e7c3", "parasol"),
        (1.31, 0.63, 0.12, "#3e4f8f", "#2a2f55", "hat"),
        (1.075, 0.60, 0.09, "#f2ead8", "#d1495b", "parasol"),
        (0.43, 0.90, 0.17, "#3d6fb0", "#f0d9a0", "hat"),
    )
    for fx, fy, tall, dress, top, kind in people:
        u, v = (x - fx) / tall, (fy - y) / tall
        fall = _ellipse(u, v, 0.55, -0.02, 0.75, 0.07) < 1
        picture = np.where(fall[..., None], 0.35 * picture + 0.65 * np.array(hexcolour("#1e3f5c")), picture)
        wide = 0.22 if kind == "parasol" else 0.13
        skirt = (v > -0.01) & (v < 0.55) & (np.abs(u + 0.02) < wide - 0.20 * np.clip(v, 0, 1) * (wide / 0.22))
        body = (v >= 0.5) & (v < 0.83) & (np.abs(u) < 0.105 - 0.03 * np.abs(v - 0.7))
        lit = mix(hexcolour(dress), (1.0, 0.85, 0.6), 0.5 * smoothstep(0.05, -0.16, u))
        picture = np.where((skirt | body)[..., None], lit, picture)
        picture = np.where(
            (_ellipse(u, v, 0.0, 0.89, 0.055, 0.07) < 1)[..., None], hexcolour("#f0bb92"), picture
        )
        if kind == "parasol":
            dome = (_ellipse(u, v, -0.06, 0.93, 0.42, 0.27) < 1) & (v > 0.93 + 0.05 * np.cos(u * 24))
            rib = mix(
                hexcolour(top),
                (1.0, 0.97, 0.86),
                0.6 * smoothstep(0.0, 0.3, np.sin((u + 0.06) * 22)) * (u < 0.1),
            )
            picture = np.where(dome[..., None], rib, picture)
        else:
            hat = ((np.abs(u) < 0.065) & (v > 0.93) & (v < 1.06)) | (
                (np.abs(u) < 0.12) & (np.abs(v - 0.94) < 0.015)
            )
            picture = np.where(hat[..., None], hexcolour(top), picture)
    return picture


def _trees(picture: Array, x: Array, y: Array) -> Array:
    """Two great trees that frame the view, with sun on the side that faces it."""
    for bx, foot, wide in ((0.145, 0.925, 0.034), (1.42, 0.70, 0.022)):
        lean = bx + 0.03 * np.sin(y * 5 + bx * 9)
        trunk = (
            (np.abs(x - lean) < wide * (0.7 + 0.6 * smoothstep(foot - 0.12, foot + 0.02, y)))
            & (y < foot)
            & (y > 0.12)
        )
        bark = gradient(
            [(0.0, hexcolour("#d99a5b")), (0.35, hexcolour("#8a4f52")), (1.0, hexcolour("#33294f"))],
            (x - lean) / wide * 0.5 + 0.5,
        )
        picture = np.where(trunk[..., None], bark, picture)
    crowns = (
        (0.02, 0.10, 0.26, 0.17), (0.24, 0.06, 0.22, 0.13), (0.10, 0.27, 0.19, 0.10),
        (0.37, 0.15, 0.12, 0.07), (1.46, 0.14, 0.22, 0.15), (1.31, 0.08, 0.15, 0.08),
        (1.50, 0.33, 0.14, 0.09), (1.37, 0.27, 0.10, 0.06),
    )  # fmt: skip
    for cx, cy, rx, ry in crowns:
        rough = _ellipse(x, y, cx, cy, rx, ry) + 0.9 * (fbm(x * 16 + cx, y * 16, 4) - 0.5)
        lightness = 0.50 + 0.30 * ((x - cx) / rx * (1 if cx < 0.7 else -1)) * 0.8 - 0.42 * (y - cy) / ry
        shade = gradient(LEAVES, np.clip(lightness + 1.1 * (fbm(x * 20, y * 20, 3) - 0.5), 0, 1))
        picture = np.where((rough < 0.96)[..., None], shade, picture)
    return picture


def scene(x: Array, y: Array) -> Array:
    """The park without dots, at points (x, y) of any one 2-D shape."""
    picture = np.where((y < BANK)[..., None], _far(x, y), _river(x, y))
    picture = _boats(picture, x, y)
    picture = np.where((y > _shore(x))[..., None], _lawn(x, y), picture)
    return _trees(_figures(picture, x, y), x, y)


def _detailed(x: Array, y: Array) -> Mask:
    """Where the smallest dots work: people, boats and houses."""
    detailed = np.zeros(x.shape, dtype=bool)
    for cx, cy, rx, ry in (
        (0.89, 0.67, 0.18, 0.17), (1.21, 0.56, 0.20, 0.09), (0.43, 0.82, 0.07, 0.10),
        (0.66, 0.40, 0.20, 0.14), (0.99, 0.38, 0.12, 0.10), (0.27, 0.41, 0.10, 0.08),
        (0.52, 0.36, 0.10, 0.07),
    ):  # fmt: skip
        detailed |= _ellipse(x, y, cx, cy, rx, ry) < 1
    return detailed


def _hue_turn(colours: Array, angle: Array) -> Array:
    """Turn colours (n, 3) about the grey axis by angles (n,) in radians."""
    axis = np.full(3, 1 / np.sqrt(3))
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    along = (colours @ axis)[:, None] * axis
    return np.asarray(along + cosine * (colours - along) + sine * np.cross(axis, colours))


def _dots(rng: np.random.Generator, cell: float) -> tuple[Array, Array]:
    """Dot centres (n, 2) on a jittered hexagonal lattice, and the same number of colours (n, 3)."""
    rows, columns = int(1.04 / (cell * 0.866)) + 1, int(1.54 / cell) + 1
    j, i = np.mgrid[0:rows, 0:columns]
    x = ((i + 0.5 * (j % 2)) * cell - 0.02).ravel() + rng.normal(0, 0.20 * cell, rows * columns)
    y = (j * cell * 0.866 - 0.02).ravel() + rng.normal(0, 0.20 * cell, rows * columns)
    colours = scene(x[None], y[None])[0]
    grey = colours.mean(axis=1, keepdims=True)
    vivid = grey + (colours - grey) * rng.normal(1.45, 0.25, (len(x), 1))
    turned = _hue_turn(vivid, rng.normal(0, 0.30, len(x)))
    opposite = _hue_turn(grey + (colours - grey) * 1.5 + 0.02, np.full(len(x), np.pi))
    spark = rng.random(len(x)) < 0.11
    mixed = np.where(spark[:, None], 0.75 * opposite + 0.25 * turned, turned)
    mixed = mixed * (1 + rng.normal(0, 0.11, (len(x), 1)))
    return np.stack([x, y], axis=1), np.clip(mixed, 0.02, 1)


def draw(size: int) -> Array:
    """The park at `size` pixels wide and two thirds as high, dotted twice as large."""
    width, height = 2 * size, 2 * (size * 2 // 3)
    rng = np.random.default_rng(SEED)
    xs, ys = grid(width, height)
    paper = np.array(hexcolour("#f3ead2"), dtype=np.float32)
    canvas = 0.55 * scene(xs, ys) + 0.45 * paper
    thickness = np.zeros((height, width), dtype=np.float32)
    for cell, radius, everywhere in DOTS:
        centres, colours = _dots(rng, cell)
        if not everywhere:
            kept = _detailed(centres[:, 0], centres[:, 1])
            centres, colours = centres[kept], colours[kept]
        order = rng.permutation(len(centres))
        sizes = radius * rng.uniform(0.75, 1.2, len(centres))
        turns, squash = rng.uniform(0, np.pi, len(centres)), rng.uniform(0.78, 1.0, len(centres))
        for k in order:
            _dab(canvas, thickness, centres[k], sizes[k], turns[k], squash[k], colours[k])
    diffuse, specular = relief(thickness * height * 0.0016, 1.0)
    lit = canvas * (0.72 + 0.28 * diffuse)[..., None] + 0.05 * specular[..., None]
    return resize(np.clip(lit, 0, 1), size, height // 2)


def _dab(
    canvas: Array, thickness: Array, centre: Array, radius: float, turn: float, squash: float, colour: Array
) -> None:
    """Press one round dot of paint on the canvas."""
    height, width = thickness.shape
    cx, cy, reach = centre[0] * height, centre[1] * height, radius * height
    left, right = max(int(cx - reach - 1), 0), min(int(cx + reach + 2), width)
    top, bottom = max(int(cy - reach - 1), 0), min(int(cy + reach + 2), height)
    if right <= left or bottom <= top:
        return
    dx = np.arange(left, right, dtype=np.float32)[None] + 0.5 - cx
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - cy
    u = (dx * np.cos(turn) + dy * np.sin(turn)) / reach
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / (reach * squash)
    away = np.sqrt(u * u + v * v)
    alpha = np.clip((1 - away) * reach + 0.5, 0, 1) * 0.96
    area = (slice(top, bottom), slice(left, right))
    canvas[area] += alpha[..., None] * (colour - canvas[area])
    dome = 0.6 + 0.4 * np.sqrt(np.clip(1 - away * away, 0, 1)) + 0.25 * np.exp(-(((away - 0.8) / 0.15) ** 2))
    thickness[area] += alpha * (0.4 * thickness[area] + dome * 2.0 - thickness[area])

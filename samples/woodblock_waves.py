"""Waves printed from wood blocks: a breaking crest with claws of foam, a graded sky and a low red sun."""

import numpy as np
from PIL import Image

from samples.canvas import Array, blur, from_image, grid, hexcolour, mix, resize, smoothstep
from samples.noise import fbm, value
from samples.woodblock import FOAM, Blocks, Point, spline

SEED = 9
INK, PRUSSIAN, INDIGO, BLUE = "#101f3d", "#15366b", "#1f4f8f", "#4f86b5"
PALE = "#a9cbd8"
HORIZON = 0.60


def _claw(
    rng: np.random.Generator, x: float, y: float, angle: float, size: float, hook: float, depth: int
) -> list[tuple[float, float, float]]:
    """A finger of foam that tapers, hooks over and sends out smaller fingers."""
    blobs = []
    steps = 11
    for step in range(steps):
        t = step / (steps - 1)
        radius = size * (0.25 * (1 - t) ** 0.7 + 0.04)
        blobs.append((x, y, radius))
        if depth > 0 and step in (2, 5, 8):
            side = -1.0 if step == 5 else 1.0
            blobs += _claw(
                rng,
                x,
                y,
                angle + side * rng.uniform(0.5, 0.95),
                size * rng.uniform(0.42, 0.58),
                hook * 1.1,
                depth - 1,
            )
        angle += hook * (0.5 + 1.2 * t) / steps
        x, y = x + float(np.cos(angle)) * size * 0.17, y + float(np.sin(angle)) * size * 0.17
    return blobs


def _scallops(rng: np.random.Generator, edge: Array, size: float) -> list[tuple[float, float, float]]:
    """Round heads of foam along an edge (n, 2)."""
    heads = np.repeat(edge, 2, axis=0) + rng.normal(0, (size * 0.5, size * 0.4), (2 * len(edge), 2))
    radii = size * rng.uniform(0.55, 1.1, len(heads))
    return [(float(x), float(y), float(radius)) for (x, y), radius in zip(heads, radii, strict=True)]


def _breaker(
    blocks: Blocks,
    rng: np.random.Generator,
    inner: list[Point],
    outer: list[Point],
    scale: float,
    heading: float,
) -> None:
    """A great wave between its hollow face and its back, both curves from the foot to the lip's tip."""
    face, back = spline(inner), spline(outer)
    body = np.concatenate([face, back[::-1]])
    blocks.shape(body, PRUSSIAN, 0.006 * scale)
    bands = (
        PALE,
        PRUSSIAN,
        FOAM,
        INDIGO,
        PRUSSIAN,
        BLUE,
        PRUSSIAN,
        PALE,
        INDIGO,
        PRUSSIAN,
        FOAM,
        PRUSSIAN,
        BLUE,
        INDIGO,
        PRUSSIAN,
        PALE,
        PRUSSIAN,
        BLUE,
        PRUSSIAN,
    )
    edges = 0.92 * (np.linspace(0, 1, len(bands) + 1) + 0.018 * np.sin(np.arange(len(bands) + 1) * 2.3))
    ease = np.linspace(0, 1, len(face))[:, None]
    for band, fill in enumerate(bands):
        low, high = (face + (back - face) * (edges[band + k] * (1 - 0.25 * ease**3)) for k in (0, 1))
        cut = int(len(face) * (0.80 + 0.16 * rng.random()))
        blocks.shape(np.concatenate([low[:cut], high[:cut][::-1]]), fill)
        blocks.line(low[:cut], 0.0026 * scale)
        for k in range(1, 4):
            start = int(rng.uniform(0, 0.4) * cut)
            blocks.line((low + (high - low) * k / 4)[start : int(rng.uniform(0.6, 1.0) * cut)], 0.0011)
    crest = back[int(len(back) * 0.40) :]
    lip = face[int(len(face) * 0.84) :]
    blocks.foam(
        _scallops(rng, crest[::3] - (-0.006 * heading, -0.022 * scale), 0.026 * scale), 0.0032 * scale
    )
    blocks.foam(_scallops(rng, crest[::2], 0.017 * scale), 0.003 * scale)
    for k in range(17):
        px, py = crest[int(len(crest) * (0.12 + 0.88 * k / 16)) - 1]
        down = 0.25 + 1.15 * k / 16
        angle = down if heading > 0 else np.pi - down
        hook = heading * rng.uniform(0.9, 1.5)
        blocks.foam(
            _claw(rng, float(px), float(py), float(angle), scale * rng.uniform(0.07, 0.115), float(hook), 2),
            0.0027 * scale,
        )
    for px, py in lip[::6]:
        angle = np.pi / 2 - heading * rng.uniform(-0.3, 0.5)
        blocks.foam(
            _claw(
                rng,
                float(px),
                float(py),
                float(angle),
                scale * rng.uniform(0.05, 0.075),
                float(heading * 1.2),
                1,
            ),
            0.0025 * scale,
        )
    tip = back[-1]
    for _ in range(110):
        reach, fall = rng.exponential(0.10) * scale, rng.uniform(-0.10, 0.30) * scale
        blocks.foam(
            [
                (
                    float(tip[0] + heading * (reach - 0.10 * scale)),
                    float(tip[1] + fall),
                    float(rng.uniform(0.0016, 0.0055)),
                )
            ],
            0.0012,
            shade=False,
        )


def _swell(
    blocks: Blocks,
    rng: np.random.Generator,
    level: float,
    swing: float,
    waves: float,
    phase: float,
    scale: float,
    tones: tuple[str, ...],
) -> None:
    """A row of lesser waves that runs across the picture, ribbed along its crest, with foam on its heads."""
    x = np.linspace(-0.02, 1.52, 400)
    turn = waves * x * 2 * np.pi + phase + 0.6 * np.sin(2.1 * x + phase)
    shape = np.sin(turn) + 0.35 * np.sin(2 * turn + 1.1)
    crest = level - swing * shape
    blocks.shape(
        np.stack([np.append(x, [1.52, -0.02]), np.append(crest, [1.1, 1.1])], axis=1), tones[0], 0.004 * scale
    )
    for rib in range(1, 9):
        drop = 0.017 * scale * rib**1.12
        upper = level - swing * shape * (1 - rib / 12) + drop
        lower = upper + 0.007 * scale + 0.006 * scale * np.sin(turn * 0.5 + rib)
        blocks.shape(
            np.stack([np.concatenate([x, x[::-1]]), np.concatenate([upper, lower[::-1]])], axis=1),
            tones[rib % len(tones)],
        )
        blocks.line(np.stack([x, upper], axis=1), 0.0016 * scale)
        blocks.line(
            np.stack([x, 0.5 * (upper + lower) + 0.006 * scale], axis=1)[
                int(rng.uniform(0, 90)) : int(rng.uniform(250, 400))
            ],
            0.0011,
        )
    heads = np.flatnonzero(shape > 0.62)
    if heads.size:
        blocks.foam(_scallops(rng, np.stack([x, crest], axis=1)[heads[::2]], 0.012 * scale), 0.0024 * scale)
        for start in heads[::9]:
            blocks.foam(
                _claw(
                    rng,
                    float(x[start]),
                    float(crest[start]),
                    float(rng.uniform(2.3, 3.0)),
                    0.05 * scale,
                    -1.4,
                    1,
                ),
                0.0022 * scale,
            )


def _boat(blocks: Blocks, x: float, y: float, size: float, tilt: float) -> None:
    """A boat under a square sail, tilted by the sea."""
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])

    def place(points: list[Point]) -> Array:
        return np.asarray(np.array(points) @ turn * size + (x, y))

    blocks.shape(
        place([(-1.0, -0.16), (-0.72, 0.12), (0.70, 0.12), (1.12, -0.26), (0.7, -0.06), (-0.6, -0.06)]),
        "#a8593a",
        0.003,
    )
    blocks.line(place([(-0.85, 0.0), (0.9, -0.03)]), 0.0018)
    blocks.line(place([(0.08, -0.06), (0.08, -1.42)]), 0.0034)
    blocks.shape(
        place([(-0.48, -0.30), (-0.55, -0.8), (-0.44, -1.30), (0.56, -1.30), (0.70, -0.8), (0.60, -0.30)]),
        "#efdcae",
        0.003,
    )
    for k in range(1, 6):
        blocks.line(
            place([(-0.50 + 0.19 * k, -0.30), (-0.55 + 0.21 * k, -0.8), (-0.46 + 0.18 * k, -1.30)]), 0.0014
        )
    for px in (-0.62, -0.38, 0.55):
        blocks.shape(
            place([(px - 0.08, -0.06), (px - 0.05, -0.26), (px + 0.05, -0.26), (px + 0.08, -0.06)]),
            "#7e2f2a",
            0.0018,
        )
        blocks.foam(
            [(float(q[0]), float(q[1]), 0.055 * size) for q in place([(px, -0.32)])],
            0.0018,
            "#e9c9a0",
            shade=False,
        )


def _islands(blocks: Blocks) -> None:
    """Far islands with pines, and a snowy cone behind them."""
    cone = spline(
        [
            (0.28, HORIZON),
            (0.42, 0.535),
            (0.50, 0.465),
            (0.515, 0.458),
            (0.545, 0.460),
            (0.56, 0.468),
            (0.65, 0.54),
            (0.80, HORIZON),
        ]
    )
    blocks.shape(cone, "#6f8fb0", 0.0025)
    snow = [
        (0.455, 0.503), (0.50, 0.465), (0.515, 0.458), (0.545, 0.460), (0.56, 0.468), (0.605, 0.506),
        (0.585, 0.500), (0.572, 0.522), (0.555, 0.500), (0.54, 0.530), (0.525, 0.502), (0.51, 0.524),
        (0.495, 0.497), (0.475, 0.515),
    ]  # fmt: skip
    blocks.shape(np.array(snow), FOAM, 0.0018)
    for x0, wide, tall in ((0.16, 0.12, 0.045), (0.33, 0.07, 0.028)):
        x = np.linspace(-1, 1, 60)
        top = HORIZON + 0.004 - tall * (1 - x**2) ** 0.7 * (1 + 0.25 * np.sin(7 * x + x0 * 30))
        rock = np.stack(
            [
                np.append(x0 + wide * x, [x0 + wide, x0 - wide]),
                np.append(top, [HORIZON + 0.01, HORIZON + 0.01]),
            ],
            axis=1,
        )
        blocks.shape(rock, "#4f6f62", 0.0025)
        for k in range(-3, 4):
            px, foot = x0 + wide * 0.22 * k, HORIZON - tall * 0.75 * (1 - (0.22 * k) ** 2)
            blocks.line(np.array([(px, foot + 0.01), (px + 0.006, foot - 0.03)]), 0.003)
            for row in range(3):
                blocks.foam(
                    [
                        (px + 0.006 + dx, foot - 0.022 - 0.009 * row, 0.0075 - 0.0012 * row)
                        for dx in (-0.011, 0.0, 0.011)
                    ],
                    0.0016,
                    "#2f5a4a",
                    shade=False,
                )


def _sky(x: Array, y: Array) -> Array:
    """Sky printed with wiped gradations, bands of cloud and a sun."""
    paper = np.array(hexcolour("#f1e3c4"))
    sky = mix(np.broadcast_to(paper, (*x.shape, 3)), hexcolour("#eebf94"), 0.9 * smoothstep(0.30, HORIZON, y))
    sky = mix(
        sky, hexcolour("#2b568d"), 0.96 * smoothstep(0.27, 0.0, y + 0.03 * (fbm(x * 2, y * 5, 3) - 0.5))
    )
    sun = smoothstep(0.1035, 0.1015, np.hypot(x - 0.36, y - 0.315))
    sky = mix(sky, mix(hexcolour("#cf3a28"), hexcolour("#e77a45"), smoothstep(0.22, 0.42, y)), 0.95 * sun)
    for level, thick, shift in (
        (0.215, 0.020, 0.2),
        (0.335, 0.016, 1.4),
        (0.405, 0.013, 2.9),
        (0.47, 0.010, 4.0),
    ):
        centre = level + 0.006 * np.sin(x * 5 + shift)
        band = (
            thick
            * (0.35 + 1.1 * fbm(x * 2.2 + shift * 9, x * 0 + shift, 2))
            * smoothstep(0.30, 0.62, fbm(x * 1.3 + shift * 5, x * 0 + 2, 2) + 0.12)
        )
        inside = smoothstep(band, band * 0.82 - 1e-4, np.abs(y - centre))
        sky = mix(sky, hexcolour("#f6ecd4"), 0.92 * inside)
        rim = inside * smoothstep(0.0, band + 1e-4, y - centre)
        sky = mix(sky, hexcolour("#c98f7a"), 0.5 * rim)
    return sky


def _birds(blocks: Blocks) -> None:
    for x, y, size in (
        (0.50, 0.20, 0.026),
        (0.56, 0.165, 0.021),
        (0.60, 0.215, 0.018),
        (0.655, 0.18, 0.016),
        (0.45, 0.245, 0.017),
    ):
        for side in (-1.0, 1.0):
            wing = spline(
                [
                    (x, y),
                    (x + side * 0.55 * size, y - 0.42 * size),
                    (x + side * 1.25 * size, y - 0.10 * size),
                ],
                20,
            )
            under = spline(
                [
                    (x, y + 0.16 * size),
                    (x + side * 0.55 * size, y - 0.18 * size),
                    (x + side * 1.25 * size, y - 0.10 * size),
                ],
                20,
            )
            blocks.shape(np.concatenate([wing, under[::-1]]), INK, 0.0012)


def _cut(width: int, height: int) -> Blocks:
    """All shapes, from the far to the near."""
    rng = np.random.default_rng(SEED)
    blocks = Blocks(width, height)
    _islands(blocks)
    sea = np.array([(-0.02, HORIZON), (1.52, HORIZON), (1.52, 1.1), (-0.02, 1.1)])
    blocks.shape(sea, BLUE, 0.003)
    for k in range(40):
        y = HORIZON + 0.005 + 0.10 * (k / 40) ** 1.3
        start, run = float(rng.uniform(-0.1, 1.2)), float(rng.uniform(0.10, 0.45))
        ripple = np.linspace(start, start + run, 40)
        blocks.line(np.stack([ripple, y + 0.0022 * np.sin(ripple * 60 + k)], axis=1), 0.0014)
    _birds(blocks)
    _swell(blocks, rng, 0.690, 0.020, 2.6, 0.4, 0.7, (INDIGO, PALE, BLUE, FOAM))
    _boat(blocks, 0.46, 0.665, 0.075, 0.14)
    _swell(blocks, rng, 0.740, 0.032, 1.7, 2.2, 0.9, (PRUSSIAN, BLUE, PALE, INDIGO))
    inner = [
        (0.10, 1.12),
        (0.50, 0.92),
        (0.80, 0.76),
        (0.965, 0.575),
        (0.985, 0.40),
        (0.915, 0.275),
        (0.815, 0.245),
        (0.735, 0.315),
    ]
    outer = [
        (1.80, 1.12),
        (1.58, 0.62),
        (1.40, 0.33),
        (1.20, 0.135),
        (1.00, 0.070),
        (0.83, 0.105),
        (0.745, 0.195),
        (0.725, 0.305),
    ]
    _breaker(blocks, rng, inner, outer, 1.0, -1.0)
    inner = [(0.62, 1.05), (0.42, 0.93), (0.285, 0.83), (0.235, 0.735), (0.26, 0.675), (0.315, 0.685)]
    outer = [(-0.30, 1.05), (-0.16, 0.86), (-0.02, 0.70), (0.13, 0.60), (0.255, 0.595), (0.325, 0.675)]
    _breaker(blocks, rng, inner, outer, 0.62, 1.0)
    _swell(blocks, rng, 0.900, 0.045, 1.3, 0.2, 1.15, (PRUSSIAN, PALE, INDIGO, BLUE, FOAM))
    _swell(blocks, rng, 0.985, 0.035, 1.8, 3.4, 1.2, (INDIGO, FOAM, PRUSSIAN, PALE))
    return blocks


def draw(size: int) -> Array:
    """The print at `size` pixels wide and two thirds as high, cut three times as large."""
    width, height = 3 * size, 3 * (size * 2 // 3)
    blocks = _cut(width, height)
    width, height = 2 * size, 2 * (size * 2 // 3)
    cut = from_image(blocks.colour.resize((width, height), Image.Resampling.BOX))
    key = from_image(blocks.key.resize((width, height), Image.Resampling.BOX))
    x, y = grid(width, height)
    cover = cut[..., 3]
    solid = cut[..., :3] / np.maximum(cover, 1e-3)[..., None]
    rings = y * 30 + 5.0 * fbm(x * 0.9, y * 3.0, 3) + 0.35 * fbm(x * 8, y * 60, 2)
    grain = 0.5 + 0.5 * np.sin(rings * 2 * np.pi)
    fibre = fbm(x * 34, y * 210, 3)
    mottle = fbm(x * 26, y * 26, 4)
    picture = mix(_sky(x, y), solid, np.clip(cover, 0, 1))
    dark = 1 - picture.mean(axis=-1)
    lift = (0.10 + 0.50 * dark) * (
        0.30 * (grain - 0.5) * (0.4 + fibre) + 0.75 * (mottle - 0.5) + 0.6 * (fibre - 0.5)
    )
    paper = np.array(hexcolour("#f4e6c6"))
    picture = picture + (paper - picture) * np.clip(lift, -0.25, 0.5)[..., None]
    speck = smoothstep(0.74, 0.86, value(x * 260, y * 260)) * smoothstep(0.45, 0.7, mottle)
    picture = mix(picture, paper, 0.55 * speck * dark)
    shift = max(1, round(0.0012 * height))
    line = np.roll(key, (shift, -shift), axis=(0, 1)) * (0.80 + 0.35 * (fibre - 0.3))
    picture = mix(picture, hexcolour(INK), np.clip(line, 0, 1) * 0.93)
    tooth = fbm(x * 120, y * 120, 3) - 0.5
    bleed = blur(key, 0.0016 * height)
    picture = picture * (1 + 0.13 * tooth - 0.05 * bleed)[..., None]
    edge = np.minimum(np.minimum(x, 1.5 - x), np.minimum(y, 1 - y)) + 0.002 * fbm(x * 30, y * 30, 2)
    return resize(np.clip(mix(picture, paper, smoothstep(0.011, 0.008, edge)), 0, 1), size, height // 2)

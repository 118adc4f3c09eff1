"""A leaded window: a sun whose rays fill the sky with panes, mountains, a river, flying cranes and irises."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from samples.canvas import Array, Colour, Index, Mask, blur, grid, hexcolour, relief, resize, smoothstep
from samples.noise import fbm, value

WIDE = 5 / 6
"""Width of the window in its heights."""
SUN = (0.44, 0.285)
FRAME = 0.062
LEAD = 0.0033
"""Half the width of a lead, in picture heights."""

GOLD = ("#ffd23f", "#ffb61e", "#ffe27a", "#ff9a1f")
FIRE = ("#e8451e", "#f26a1b", "#c92a1c", "#ff8427")
DAWN = ("#f7a13a", "#f2c25b", "#ef7f3c", "#f6dc8a")
ROSE = ("#d94f70", "#e88a7d", "#b83a6b", "#f0aa8c")
VIOLET = ("#7a4fb5", "#5b3fa0", "#9d6cc4", "#4b56b8")
BLUE = ("#2456c4", "#1b3f9e", "#3a7bdc", "#1c5fb0")
NIGHT = ("#14307c", "#0f2466", "#1f4aa6", "#123a8c")
PEAK = ("#2f6a8c", "#4f8fb0", "#1f4d70", "#86bccb")
FOREST = ("#1d6b45", "#2d8a4e", "#145238", "#57a64a")
MEADOW = ("#7fb83a", "#a5c93f", "#4f9a3c", "#c6d44f")
WATER = ("#1f9fc0", "#57c4d6", "#1878a8", "#8fdde0")
IRIS = ("#6b2fb0", "#8f4fd6", "#4a1f8f", "#b57fe6")
LEAF = ("#2f9e4f", "#1b7a3f", "#66b845", "#125c38")
PEARL = ("#f6f1e0", "#e6e6ea", "#fff9ec", "#d3dbe8")
BORDER = ("#9c1f2e", "#1b4fa8", "#c2342f", "#173f86")
JEWEL = ("#ffcf3a", "#2fae6a", "#ffb020", "#36b4c9")
PETALS = (
    (-0.085, 0.045, 0.026, -0.035), (0.085, 0.045, 0.026, 0.035), (0.0, 0.082, 0.026, 0.0),
    (-0.062, -0.060, 0.022, 0.012), (0.062, -0.060, 0.022, -0.012), (0.0, -0.098, 0.026, 0.0),
)  # fmt: skip
"""An iris's petals as (across, down, half width, bend)."""


class Panes:
    """Which pane each pixel lies in; panes are cut from the sky downward, later over earlier."""

    def __init__(self, width: int, height: int) -> None:
        """An empty window of pixels."""
        self.x, self.y = grid(width, height)
        self.number = np.zeros((height, width), dtype=np.int64)
        self.colours: list[Colour] = []
        self.rng = np.random.default_rng(3)

    def cut(self, region: Mask, parts: Index, palette: tuple[str, ...]) -> None:
        """Glaze a region, one pane for each integer in `parts`, in colours of a palette."""
        labels, where = np.unique(parts[region], return_inverse=True)
        self.number[region] = where + len(self.colours)
        for _ in labels:
            base = np.array(hexcolour(palette[int(self.rng.integers(0, len(palette)))]))
            shifted = np.clip(base * (1 + self.rng.normal(0, 0.10)) + self.rng.normal(0, 0.025, 3), 0, 1)
            self.colours.append((float(shifted[0]), float(shifted[1]), float(shifted[2])))

    def polygon(self, points: Array, palette: tuple[str, ...]) -> None:
        """Glaze one pane with corners (n, 2) in picture heights."""
        height, width = self.number.shape
        mask = Image.new("1", (width, height))
        ImageDraw.Draw(mask).polygon([(float(px) * height, float(py) * height) for px, py in points], fill=1)
        region = np.asarray(mask)
        self.cut(region, np.zeros_like(self.number), palette)


def _facets(x: Array, y: Array, count: int, seed: int, stretch: float = 1.0) -> Index:
    """The nearest of `count` scattered points: panes of broken glass."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, 2)) * (WIDE, 1.0)
    best, nearest = np.full(x.shape, np.inf), np.zeros(x.shape, dtype=np.int64)
    for index, (px, py) in enumerate(points):
        away = (x - px) ** 2 + ((y - py) * stretch) ** 2
        nearest = np.where(away < best, index, nearest)
        best = np.minimum(away, best)
    return np.asarray(nearest)


def _sky(panes: Panes) -> None:
    """Rings of panes about the sun, their rays bent a little."""
    dx, dy = panes.x - SUN[0], panes.y - SUN[1]
    radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    rings = (
        (0.000, 1, 0.0, GOLD), (0.040, 8, 0.0, GOLD), (0.092, 16, 0.5, FIRE), (0.140, 16, 0.0, DAWN),
        (0.205, 20, 0.5, ROSE), (0.285, 20, 0.0, VIOLET), (0.375, 24, 0.5, BLUE), (0.480, 24, 0.0, NIGHT),
        (0.600, 24, 0.5, BLUE), (0.72, 24, 0.0, NIGHT),
    )  # fmt: skip
    for start, count, offset, palette in rings:
        petal = 1 + (0.10 if 0.05 < start < 0.2 else 0.035) * np.cos(angle * count / 2 + np.pi * offset)
        bent = angle + 0.55 * np.sin(radius * 6.0) * (start > 0.2)
        sector = np.floor(np.mod(bent / (2 * np.pi) * count + offset, count))
        panes.cut(radius * petal >= start, sector.astype(np.int64), palette)


def _earth(panes: Panes) -> None:
    """Mountains, woods, meadows and the river between them."""
    x, y = panes.x, panes.y
    far = 0.575 - 0.10 * np.abs(np.sin(x * 7.5 + 0.3)) ** 0.8 - 0.035 * np.abs(np.sin(x * 17 + 1))
    panes.cut(y > far, _facets(x, y, 130, 4, 0.6), PEAK)
    woods = 0.595 + 0.022 * np.sin(x * 9 + 2) + 0.008 * np.sin(x * 31)
    panes.cut(y > woods, _facets(x, y, 170, 5, 1.4), FOREST)
    for row, (top, swing, phase, palette) in enumerate(
        ((0.665, 0.028, 0.5, MEADOW), (0.755, 0.035, 2.4, FOREST), (0.85, 0.03, 4.2, MEADOW))
    ):
        edge = top + swing * np.sin(x * 7 + phase)
        slant = np.floor((x + 0.55 * (y - edge) * np.sin(row * 2.0 + 1)) * (8.5 - row) + 0.35 * row)
        band = np.floor(np.clip((y - edge) / 0.052, 0, 9))
        panes.cut(y > edge, (slant + 100 * band).astype(np.int64), palette)
    middle = (
        0.47 + 0.13 * np.sin((y - 0.60) * 13.0) * smoothstep(0.60, 0.75, y) - 0.10 * smoothstep(0.8, 1.0, y)
    )
    half = 0.012 + 0.46 * np.clip(y - 0.60, 0, 1) ** 1.25
    across = (x - middle) / half
    flow = np.floor(np.log(np.clip(y - 0.575, 0.001, 1)) * 7.0 + 0.45 * np.sin(across * 2.2 + y * 9))
    lane = np.floor(np.clip(across * 1.5 + 1.5 + 0.25 * np.sin(y * 40), 0, 2.99))
    panes.cut((np.abs(across) < 1) & (y > 0.60), (flow * 10 + lane).astype(np.int64), WATER)


def _curve(points: list[tuple[float, float]], samples: int = 24) -> Array:
    """A Bezier curve of any degree through its control points, (samples, 2)."""
    t = np.linspace(0, 1, samples)[:, None]
    layer = [np.repeat(np.array([p]), samples, axis=0) for p in points]
    while len(layer) > 1:
        layer = [a * (1 - t) + b * t for a, b in pairwise(layer)]
    return np.asarray(layer[0])


def _leaf(
    panes: Panes,
    root: tuple[float, float],
    tip: tuple[float, float],
    wide: float,
    bend: float,
    palette: tuple[str, ...],
) -> None:
    """A long leaf or petal in two halves with a vein between them."""
    (ax, ay), (bx, by) = root, tip
    nx, ny = by - ay, ax - bx
    length = float(np.hypot(nx, ny))
    nx, ny = nx / length, ny / length
    mx, my = ax + (bx - ax) * 0.55 + nx * bend, ay + (by - ay) * 0.55 + ny * bend
    vein = _curve([root, (mx, my), tip])
    for side in (-1.0, 1.0):
        edge = _curve([root, (mx + side * wide * nx * 2, my + side * wide * ny * 2), tip])
        panes.polygon(np.concatenate([vein, edge[::-1]]), palette)


def _irises(panes: Panes) -> None:
    """Irises that rise from the sill on both sides."""
    for x, top, size, lean in (
        (0.145, 0.66, 1.0, -0.012),
        (0.245, 0.775, 0.82, 0.02),
        (0.700, 0.70, 0.95, 0.012),
        (0.600, 0.80, 0.74, -0.015),
    ):
        foot = (x - lean * 2, 0.955)
        for reach, rise, wide in (
            (-0.075, 0.13, 0.014),
            (0.070, 0.16, 0.014),
            (-0.028, 0.20, 0.012),
            (0.03, 0.11, 0.013),
        ):
            _leaf(
                panes,
                foot,
                (x + reach * size, 0.955 - (rise + 0.06) * size),
                wide,
                0.03 * float(np.sign(reach)),
                LEAF,
            )
        stem = _curve([foot, (x, 0.5 * (top + 0.95)), (x + lean, top + 0.02)])
        panes.polygon(np.concatenate([stem - (0.0055, 0), stem[::-1] - (-0.0055, 0)]), LEAF)
        cx, cy = x + lean, top
        for dx, dy, wide, bend in PETALS:
            _leaf(panes, (cx, cy), (cx + dx * size, cy + dy * size), wide * size, bend * size, IRIS)
        angle = np.linspace(0, 2 * np.pi, 30)
        panes.polygon(
            np.stack([cx + 0.017 * size * np.cos(angle), cy + 0.017 * size * np.sin(angle)], axis=1), GOLD
        )


def _crane(panes: Panes, x: float, y: float, size: float, flip: float) -> None:
    """A flying crane: two fans of feathers, a body, a long neck and trailing legs."""

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x + flip * size * px, y + size * py) for px, py in points]

    for px, py, bend in (
        (-0.16, -0.62, 0.06),
        (-0.40, -0.52, 0.05),
        (-0.55, -0.34, 0.05),
        (-0.56, -0.13, 0.03),
    ):
        root, tip = place([(0.06, -0.02), (px, py)])
        _leaf(panes, root, tip, 0.075 * size, bend * size * flip, PEARL if py > -0.6 else NIGHT)
    for px, py in ((0.34, -0.46), (0.12, -0.46)):
        root, tip = place([(0.12, -0.02), (px, py)])
        _leaf(panes, root, tip, 0.07 * size, -0.04 * size * flip, PEARL)
    legs = _curve(place([(-0.16, 0.05), (-0.4, 0.08), (-0.66, 0.07)]))
    panes.polygon(np.concatenate([legs - (0, 0.008 * size), legs[::-1] - (0, -0.024 * size)]), FIRE)
    above, below = (
        _curve(place([(-0.30, 0.04), (-0.1, -0.10), (0.18, -0.06), (0.30, 0.0)])),
        _curve(place([(-0.30, 0.04), (-0.1, 0.13), (0.2, 0.09), (0.30, 0.0)])),
    )
    panes.polygon(np.concatenate([above, below[::-1]]), PEARL)
    neck = _curve(place([(0.24, 0.0), (0.38, 0.06), (0.46, -0.10), (0.60, -0.09)]))
    panes.polygon(np.concatenate([neck - (0, 0.028 * size), neck[::-1] - (0, -0.028 * size)]), PEARL)
    panes.polygon(
        np.array(place([(0.57, -0.13), (0.65, -0.125), (0.80, -0.075), (0.65, -0.06), (0.57, -0.06)])), FIRE
    )


def _border(panes: Panes) -> None:
    """A frame of oblong panes with a square jewel between each two."""
    x, y = panes.x, panes.y
    edge = np.minimum(np.minimum(x, WIDE - x), np.minimum(y, 1 - y))
    sideways = np.minimum(x, WIDE - x) < np.minimum(y, 1 - y)
    along = np.where(sideways, y, x)
    side = np.where(sideways, np.where(x < WIDE / 2, 0, 1), np.where(y < 0.5, 2, 3)) * 1000
    whole = np.where(sideways, 1.0, WIDE)
    step = whole / np.where(sideways, 12, 10)
    cell = np.floor(along / step)
    jewel = np.abs(along - (cell + 0.5) * step) < 0.015
    panes.cut(edge < FRAME, (side + cell).astype(np.int64), BORDER)
    panes.cut((edge < FRAME) & jewel, (side + cell).astype(np.int64), JEWEL)
    panes.cut(edge < 0.016, (side + np.floor(along / step * 0.5)).astype(np.int64), VIOLET)


def _distance(number: Index, reach: int) -> Array:
    """Pixels from each pixel to the nearest one of another pane, up to `reach`."""
    height, width = number.shape
    far = np.full(number.shape, float(reach + 1), dtype=np.float32)
    for dy in range(reach + 1):
        for dx in range(-reach, reach + 1):
            away = float(np.hypot(dx, dy))
            if away > reach or (dy == 0 and dx <= 0):
                continue
            here = (slice(0, height - dy), slice(max(0, -dx), width - max(0, dx)))
            there = (slice(dy, height), slice(max(0, dx), width - max(0, -dx)))
            other = number[here] != number[there]
            for view in (far[here], far[there]):
                np.minimum(view, np.where(other, away, np.inf), out=view)
    return far


def draw(size: int) -> Array:
    """The window at `size` pixels high and five sixths as wide, leaded twice as large."""
    height, width = 2 * size, 2 * round(size * WIDE)
    panes = Panes(width, height)
    _sky(panes)
    _earth(panes)
    _crane(panes, 0.600, 0.470, 0.31, -1.0)
    _crane(panes, 0.225, 0.215, 0.22, 1.0)
    _irises(panes)
    _border(panes)
    x, y, number = panes.x, panes.y, panes.number
    tint = np.array(panes.colours, dtype=np.float32)[number]
    turn = np.mod(number * 2.399, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    streak = fbm(u * 9 + number * 3.7, v * 55, 4)
    cloud = fbm(x * 14 + number * 5.1, y * 14, 3)
    seeds = smoothstep(0.80, 0.88, value(x * 150, y * 150))
    glow = 1.18 - 0.75 * smoothstep(0.0, 0.85, np.hypot(x - SUN[0], y - SUN[1]))
    glass = tint * (0.60 + 0.55 * streak + 0.35 * (cloud - 0.5))[..., None] * (0.62 + 0.66 * glow)[..., None]
    glass = glass + (0.22 * smoothstep(0.55, 0.85, streak) * glow)[..., None] * np.sqrt(tint)
    hammered, sparkle = relief(
        fbm(x * 95, y * 95, 3) * size * 0.008 + value(x * 60, y * 60) * size * 0.006, 1.0
    )
    glass = glass * (0.72 + 0.28 * hammered)[..., None] + (0.10 * sparkle + 0.14 * seeds)[..., None]
    lead = LEAD * height
    far = _distance(number, int(lead) + 2)
    wobble = lead * (0.85 + 0.35 * fbm(x * 24, y * 24, 2))
    cover = 1 - smoothstep(wobble - 0.8, wobble + 0.8, far)
    near = blur(cover.astype(np.float32), 0.010 * height)
    glass = glass * (1.08 - 0.75 * np.clip(near, 0, 1) ** 1.3)[..., None]
    came = np.sqrt(np.clip(1 - (far / (wobble + 0.5)) ** 2, 0, 1))
    diffuse, shine = relief(blur((came * lead * 0.9).astype(np.float32), 0.0008 * height), 1.0)
    metal = (0.045 + 0.085 * diffuse + 0.45 * shine)[..., None] * np.array([0.92, 0.97, 1.08])
    halo = blur((glass * (1 - cover)[..., None]).astype(np.float32), 0.006 * height)
    picture = glass * (1 - cover)[..., None] + (metal + 0.10 * halo) * cover[..., None]
    bloom = blur(np.clip(picture - 0.62, 0, 1).astype(np.float32), 0.02 * height)
    return resize(np.clip(picture + 0.35 * bloom, 0, 1), width // 2, size)

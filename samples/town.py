"""A town at night: a canal between gabled houses with lit windows, under a church and the moon."""

import numpy as np

from samples.canvas import Array, Index, Mask, filmic, smoothstep
from samples.noise import fbm, value
from samples.rays import Camera, cast, dot, unit

CAMERA = Camera(position=(-1.6, 3.7, -1.0), target=(0.9, 5.6, 30.0), tangent=0.56)
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
BOATS = (
    (-4.9, 10.5, 0.95, 2.9),
    (4.7, 9.0, 1.0, 3.2),
    (5.0, 19.0, 0.95, 2.8),
    (-5.1, 23.5, 0.9, 2.8),
    (-4.9, 31.0, 0.9, 2.5),
)
"""Moored boats as (x, z, half width, half length)."""
PAINTS = np.array([
    (0.42, 0.15, 0.09), (0.62, 0.44, 0.22), (0.30, 0.13, 0.10), (0.66, 0.60, 0.48),
    (0.22, 0.28, 0.24), (0.50, 0.22, 0.12), (0.36, 0.36, 0.42), (0.58, 0.34, 0.22),
])  # fmt: skip
SHUTTERS = np.array([(0.05, 0.16, 0.10), (0.22, 0.04, 0.03), (0.05, 0.08, 0.20), (0.12, 0.10, 0.08)])


def _hash(*keys: Array | Index | float) -> Array:
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


def _house(along: Array, row: int) -> tuple[Index, Array, Array, Array]:
    """For points along a row: the house's number, offset from its middle, half width and height of eaves."""
    walls = PLOTS[row]
    number = np.clip(np.searchsorted(walls, along), 1, len(walls) - 1)
    left, right = walls[number - 1], walls[number]
    return number, along - 0.5 * (left + right), 0.5 * (right - left), 7.6 + 4.6 * _hash(number, row, 3.0)


def _gable(number: Index, offset: Array, half: Array, eaves: Array, row: int) -> Array:
    """Height of the wall's top edge: pointed, stepped, bell-shaped or flat."""
    s = np.clip(np.abs(offset) / half, 0, 1)
    kind = np.floor(_hash(number, row, 8.0) * 4)
    pointed = 2.9 * (1 - s)
    stepped = np.floor((1 - s) * 5.0) / 5.0 * 3.4 + 0.25
    bell = np.where(
        s < 0.62,
        1.7 + 1.5 * np.cos(np.clip(s / 0.62, 0, 1) * np.pi / 2) ** 0.7,
        0.9 * np.cos((s - 0.62) * 4.0) ** 4,
    )
    flat = 0.7 + 0.25 * (np.abs(s - 0.5) < 0.06)
    gable = np.select([kind == 0, kind == 1, kind == 2], [pointed, stepped, bell], flat)
    chimney = (np.abs(offset - 0.45 * half) < 0.38) * (2.6 + 0.6 * _hash(number, row, 5.0))
    return np.asarray(eaves + np.maximum(gable, chimney))


def _lamplight(p: Array, normal: Array) -> Array:
    """Warm light (3, n) that the street lamps throw on surfaces."""
    total = np.zeros(p.shape[1], dtype=np.float32)
    for lamp in LAMPS:
        away = lamp[:, None] - p
        square = dot(away, away)
        facing = np.clip(dot(normal, away) / np.sqrt(square), 0, 1)
        total += facing * 16.0 / (square + 1.2) * np.exp(-0.20 * np.sqrt(square))
    return WARM * total


def _sky(ray: Array) -> Array:
    """Night sky: the moon, clouds that it lights, stars, and the glow of the town near the roofs."""
    up = np.clip(ray[1], 0, 1)
    sky = np.array([0.012, 0.030, 0.095])[:, None] + np.array([0.055, 0.075, 0.13])[:, None] * np.exp(
        -up * 4.0
    )
    sky = sky + np.array([0.14, 0.065, 0.03])[:, None] * np.exp(-up * 9.0)
    apart = np.arccos(np.clip(dot(ray, MOON), -1, 1))
    x, y = ray[0] / (up + 0.25), ray[2] / (up + 0.25)
    cloud = fbm(x * 1.1 + 3, y * 1.9 + 1, 6)
    ahead = fbm((x - 0.10) * 1.1 + 3, (y + 0.06) * 1.9 + 1, 6)
    cover = smoothstep(0.46, 0.68, cloud)
    u, v = ray[0] / ray[2] * 120, ray[1] / ray[2] * 120
    cell = _hash(np.floor(u), np.floor(v))
    spot = np.hypot(u - np.floor(u) - 0.5, v - np.floor(v) - 0.5)
    stars = (cell > 0.985) * smoothstep(0.42, 0.05, spot) * (0.4 + 60 * (cell - 0.985)) * (ray[2] > 0.2)
    sky = sky + stars * np.array([0.75, 0.85, 1.0])[:, None] * 0.9
    silver = np.exp(-apart * 3.6) * 0.62 + 0.03
    edge = np.clip(0.55 + 5.0 * (cloud - ahead), 0.15, 1.6)
    lit = np.array([0.50, 0.60, 0.85])[:, None] * silver * edge + np.array([0.028, 0.036, 0.075])[:, None]
    sky = sky * (1 - 0.9 * cover) + lit * cover * 0.9
    disc = smoothstep(0.050, 0.047, apart) * (1 - 0.55 * cover)
    seas = 0.72 + 0.45 * fbm(ray[0] * 34, ray[1] * 34, 4)
    sky = sky * (1 - disc) + disc * np.array([1.5, 1.4, 1.12])[:, None] * seas
    return np.asarray(
        sky + np.array([0.40, 0.46, 0.62])[:, None] * (0.55 * np.exp(-apart * 13) + 0.10 * np.exp(-apart * 4))
    )


def _wall(along: Array, up: Array, row: int, t: Array, p: Array, normal: Array) -> Array:
    """A row of house fronts: brick or plaster, cornices, shutters, doors and windows, some of them lit."""
    number, offset, half, eaves = _house(along, row)
    seed = number + 50.0 * row
    paint = PAINTS[np.floor(_hash(seed, 1.0) * len(PAINTS)).astype(int)].T
    sharp = np.clip(1.4 - t / 26, 0, 1)
    course = np.floor(up / 0.16)
    joint = (np.mod(up / 0.16, 1) < 0.14) | (np.mod(along / 0.42 + 0.5 * np.mod(course, 2), 1) < 0.06)
    brick = _hash(np.floor(along / 0.42 + 0.5 * np.mod(course, 2)), course, row)
    bricked = (_hash(seed, 2.0) < 0.6) * sharp
    albedo = paint * (1 + bricked * (0.55 * (brick - 0.5) - 0.35 * joint))
    albedo = (
        albedo
        * (0.70 + 0.6 * fbm(along * 0.9, up * 0.7, 4))
        * (1 - 0.35 * smoothstep(3.2, 1.2, up) * fbm(along, up, 3))
    )
    floor_high = 2.55 + 0.35 * _hash(seed, 6.0)
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
    door = front & (column == np.floor(_hash(seed, 7.0) * columns)) & ~attic
    shop = front & ~door & (_hash(seed, 9.0) < 0.55)
    wide, tall = np.where(shop, 0.80, wide), np.where(shop, 0.92, tall)
    tall, v = np.where(door, 1.08, tall), np.where(door, v + 0.20, v)
    arch = np.where(_hash(seed, 11.0) < 0.4, 0.25 * (1 - (u / wide) ** 2), 0.0)
    pane = (np.abs(u) < wide) & (v > -tall) & (v < tall - 0.22 + arch) & (inside | attic)
    frame = (
        (np.abs(u) < wide + 0.13) & (v > -tall - 0.15) & (v < tall - 0.09 + arch) & (inside | attic) & ~pane
    )
    shutter = (
        (np.abs(np.abs(u) - wide - 0.36) < 0.23)
        & (np.abs(v + 0.1) < tall - 0.1)
        & inside
        & ~front
        & (_hash(seed, 12.0) < 0.6)
    )
    slats = 0.75 + 0.35 * (np.mod(v / 0.12, 1) < 0.6) * sharp
    albedo = np.where(shutter, SHUTTERS[np.floor(_hash(seed, 13.0) * 4).astype(int)].T * slats, albedo)
    albedo = np.where(frame, np.array([0.62, 0.58, 0.50])[:, None], albedo)
    cornice = (np.abs(up - eaves) < 0.20) | (np.abs(up - QUAY - floor_high) < 0.10)
    albedo = np.where(cornice, np.array([0.55, 0.50, 0.42])[:, None], albedo)
    rim = _gable(number, offset, half, eaves, row) - up
    albedo = np.where(rim < 0.22, np.array([0.50, 0.46, 0.40])[:, None], albedo)
    albedo = np.where(door & pane, SHUTTERS[np.floor(_hash(seed, 14.0) * 4).astype(int)].T * 1.3, albedo)
    gap = np.minimum(half - np.abs(offset), 0.14) / 0.14
    light = _lamplight(p, normal) + MOONLIGHT * (0.35 + 0.65 * np.clip(dot(normal, MOON), 0, 1)) + NIGHT * 1.1
    spill = (
        0.30 * np.exp(-np.maximum(np.abs(u) - wide, 0) * 2.2) * np.exp(-np.maximum(np.abs(v) - tall, 0) * 2.0)
    )
    window = np.where(attic, 90.0, column + 10 * level)
    chance = _hash(seed, window, 1.0)
    on = (chance < np.where(front, 0.85, np.where(attic, 0.35, 0.56))) & ~door
    light = light + WARM * 0.5 * spill * on * (inside | attic)
    colour = albedo * light * (0.35 + 0.65 * gap)
    tone = _hash(seed, window, 2.0)
    glow = np.stack([np.ones_like(tone), 0.44 + 0.24 * tone, 0.08 + 0.24 * tone**2]) * (
        0.65 + 1.15 * _hash(seed, window, 3.0)
    )
    bars = (np.abs(u) < 0.035) | (np.abs(v - 0.12) < 0.035) | (shop & (np.abs(np.abs(u) - 0.4) < 0.03))
    curtain = smoothstep(0.35, 1.0, np.abs(u) / wide + 0.10 * np.sin(v * 4)) * (tone > 0.35)
    folds = 1 - curtain * (0.45 + 0.2 * np.sin(u * 46))
    things = (v < -tall + 0.30 + 0.5 * value(u * 5 + seed, window)) * (_hash(seed, window, 4.0) < 0.6)
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


def _square(x: Array, y: Array, p: Array, t: Array) -> tuple[Array, Mask]:
    """The far end: a row of houses and a church with a lit clock; its light (3, n) and cover (n,)."""
    number, offset, half, eaves = _house(x + 60.0, 0)
    houses = y < _gable(number, offset, half, eaves - 1.0, 0)
    normal = np.repeat(np.array([0.0, 0.0, -1.0])[:, None], p.shape[1], axis=1)
    colour = _wall(x + 60.0, y, 0, t, p, normal)
    u = x - 4.5
    belfry = (np.abs(u) < 3.3) & (y < 27)
    spire = (np.abs(u) < 2.9 * np.clip((46 - y) / 17, 0, 1) ** 1.25) & (y >= 27)
    ball = np.hypot(u, y - 46.3) < 0.5
    corner = (np.abs(np.abs(u) - 3.1) < 0.45 * np.clip((30.5 - y) / 3, 0, 1)) & (y >= 27)
    nave = (np.abs(u + 9) < 9) & (y < 13 + 5.5 * np.clip(1 - np.abs(u + 9) / 14, 0, 1))
    stone = np.array([0.34, 0.31, 0.30])[:, None] * (0.6 + 0.6 * fbm(x * 0.8, y * 0.8, 4))
    flood = (
        np.array([1.0, 0.62, 0.30])[:, None]
        * (0.42 * np.exp(-np.maximum(y - 8, 0) * 0.075))
        * (0.55 + 0.45 * smoothstep(3.3, -3.3, u))
    )
    tower = stone * (flood + MOONLIGHT * 0.8 + NIGHT * 1.6)
    louvre = (
        (np.abs(np.abs(u) - 1.1) < 0.62)
        & (y > 22.8)
        & (y < 25.2 + 0.6 * np.sqrt(np.clip(1 - ((np.abs(u) - 1.1) / 0.62) ** 2, 0, 1)))
    )
    tower = np.where(louvre, np.array([1.0, 0.55, 0.2])[:, None] * 0.55, tower)
    band = (np.abs(y - 21.6) < 0.25) | (np.abs(y - 27) < 0.35) | (np.abs(y - 15) < 0.2)
    tower = np.where(band & (np.abs(u) < 3.4), tower * 1.7, tower)
    clock = np.hypot(u, y - 18.6)
    hand = ((np.abs(u) < 0.16) & (y > 18.6) & (y < 20.0)) | (
        (np.abs(y - 18.6 - 0.5 * u) < 0.16) & (u > 0) & (u < 1.0)
    )
    tower = np.where((clock < 1.75) & ~hand, np.array([1.0, 0.86, 0.55])[:, None] * 1.5, tower)
    tower = np.where((clock >= 1.75) & (clock < 2.0), 0.02, tower)
    slate = (
        np.array([0.05, 0.085, 0.13])[:, None]
        * (0.8 + 0.5 * smoothstep(1.0, -2.0, u))
        * (0.8 + 0.4 * (np.mod(y, 0.9) < 0.5))
    )
    shape = belfry | spire | ball | corner | nave
    church = np.where(belfry | nave, tower, slate * 0.9)
    cover = houses | shape
    return np.where(houses, colour, church), cover


def _bridge_top(x: Array) -> Array:
    return np.asarray(QUAY + 3.3 - 0.030 * x * x)


def _bridge(x: Array, y: Array) -> Mask:
    """Whether points across the canal lie in the bridge's stone: below its parapet and outside its arch."""
    arch = 3.05 * np.sqrt(np.clip(1 - (x / 5.4) ** 2, 0, 1)) + 0.15
    return np.asarray((y < _bridge_top(x) + 0.75) & ((y > arch) | (np.abs(x) > 5.4)) & (np.abs(x) < STREET))


def _stone(
    x: Array, y: Array, p: Array, normal: Array, row: float, high: float = 0.42, long: float = 0.95
) -> Array:
    """Lit masonry in courses."""
    course = np.floor(y / high)
    shift = x / long + 0.5 * np.mod(course, 2)
    joint = (np.mod(y / high, 1) < 0.09) | (np.mod(shift, 1) < 0.04)
    block = _hash(np.floor(shift), course, row)
    albedo = (
        np.array([0.34, 0.29, 0.24])[:, None]
        * (0.65 + 0.55 * block)
        * (1 - 0.55 * joint)
        * (0.6 + 0.7 * fbm(x * 2, y * 2, 4))
    )
    light = _lamplight(p, normal) + MOONLIGHT * 0.6 + NIGHT
    return np.asarray(albedo * light)


def _boats(origin: Array, ray: Array) -> tuple[Array, Array]:
    """Open boats as cut ellipsoids: distance (n,) and light (3, n)."""
    nearest, light = np.full(ray.shape[1], np.inf), np.zeros_like(ray)
    for x0, z0, wide, long in BOATS:
        radii = np.array([wide, 0.75, long])[:, None]
        o, d = (origin - np.array([x0, 0.42, z0])[:, None]) / radii, ray / radii
        a, b, c = dot(d, d), dot(o, d), dot(o, o) - 1
        root = b * b - a * c
        reach = np.sqrt(np.maximum(root, 0))
        for t, outside in (((-b - reach) / a, True), ((-b + reach) / a, False)):
            p = origin + ray * t
            rim = 0.58 + 0.30 * ((p[2] - z0) / long) ** 4
            hit = (root > 0) & (t > 0.05) & (p[1] < rim) & (p[1] > -0.02) & (t < nearest)
            normal = unit((p - np.array([x0, 0.42, z0])[:, None]) / radii**2) * (1 if outside else -1)
            planks = 0.7 + 0.4 * (np.mod(p[1] / 0.13, 1) < 0.8)
            trim = (p[1] > rim - 0.11) & outside
            hull = np.where(
                trim,
                np.array([0.75, 0.70, 0.58])[:, None],
                np.array([0.34, 0.09, 0.06] if z0 < 10 or z0 > 30 else [0.06, 0.20, 0.24])[:, None],
            )
            albedo = np.where(outside, hull, np.array([0.36, 0.24, 0.14])[:, None]) * planks
            bench = ~np.asarray(outside) & (np.abs(np.mod(p[2] - z0, 1.5) - 0.75) < 0.2)
            albedo = np.where(bench, albedo * 1.6, albedo)
            shade = albedo * (
                _lamplight(p, normal) * 1.2 + MOONLIGHT * (0.4 + 0.5 * np.clip(normal[1], 0, 1)) + NIGHT * 1.3
            )
            nearest, light = np.where(hit, t, nearest), np.where(hit, shade, light)
    return nearest, light


def _posts(origin: Array, ray: Array) -> tuple[Array, Array]:
    """Lamp posts and their lanterns, flat toward the eye: distance (n,) and light (3, n)."""
    nearest, light = np.full(ray.shape[1], np.inf), np.zeros_like(ray)
    for lx, ly, lz in LAMPS:
        t = (lz - origin[2]) / ray[2]
        x, y = origin[0] + ray[0] * t - lx, origin[1] + ray[1] * t - ly
        glass = (np.abs(x) < 0.17 + 0.06 * y) & (np.abs(y) < 0.27)
        cap = (np.abs(x) < 0.27 * (1 - (y - 0.27) / 0.26)) & (y >= 0.27) & (y < 0.53)
        rib = glass & (np.abs(np.abs(x) - 0.09) < 0.012)
        foot = 3.3 if abs(lx) > 4 else 1.1
        post = (
            (np.abs(x) < 0.055 + 0.05 * (y < -foot + 0.7) + 0.06 * (np.abs(y + 0.34) < 0.05))
            & (y < -0.25)
            & (y > -foot)
        )
        hit = (t > 0.1) & (t < nearest) & (glass | cap | post)
        iron = np.array([0.030, 0.030, 0.032])[:, None] + WARM * 0.10 * np.exp(-np.abs(y + 0.25) * 2.2)
        shade = np.where(glass & ~rib, np.array([1.0, 0.80, 0.46])[:, None] * 4.5, iron)
        nearest, light = np.where(hit, t, nearest), np.where(hit, shade, light)
    return nearest, light


def _town(origin: Array, ray: Array) -> tuple[Array, Array]:
    """All that is not water, seen along rays: light (3, n) and distance (n,)."""
    count = ray.shape[1]
    colour = _sky(ray)
    nearest = np.full(count, np.inf)

    def keep(chosen: Mask, t: Array, light: Array) -> None:
        closer = chosen & (t > 0.01) & (t < nearest)
        nearest[closer] = t[closer]
        colour[:, closer] = np.broadcast_to(light, (3, count))[:, closer]

    t = (END - origin[2]) / ray[2]
    p = origin + ray * t
    light, cover = _square(p[0], p[1], p, t)
    keep(cover & (ray[2] > 0.05), t, light)
    side = np.sign(ray[0]) + (ray[0] == 0)
    for depth, roof in ((3.6, True), (0.0, False)):
        t = (side * (STREET + depth) - origin[0]) / np.where(ray[0] == 0, 1e-6, ray[0])
        p = origin + ray * np.minimum(t, 1e4)
        for row in (-1, 1):
            at = np.flatnonzero(
                (side == row) & (t > 0) & (p[2] < END) & (p[2] > -8) & (p[1] < 22) & (p[1] > 0)
            )
            if not at.size:
                continue
            q = p[:, at]
            number, offset, half, eaves = _house(q[2] + (2.2 if roof else 0.0), row)
            if roof:
                top = eaves + 2.1 + 0.7 * np.sin(number) + (np.abs(offset - 0.3 * half) < 0.4) * 1.4
                tiles = 0.6 + 0.5 * (np.mod(q[1] / 0.35 + value(q[2] * 3, q[1] * 3), 1) < 0.6)
                light = np.array([0.075, 0.060, 0.075])[:, None] * tiles * 0.45 + NIGHT * 0.2
            else:
                top = _gable(number, offset, half, eaves, row)
                normal = np.repeat(np.array([-float(row), 0.0, 0.0])[:, None], at.size, axis=1)
                light = _wall(q[2], q[1], row, t[at], q, normal)
            shown, full = np.zeros(count, dtype=bool), np.zeros((3, count))
            shown[at], full[:, at] = q[1] < top, light
            keep(shown, t, full)
    t = (QUAY - origin[1]) / np.where(ray[1] == 0, 1e-6, ray[1])
    p = origin + ray * np.clip(t, 0, 500)
    upward = np.repeat(np.array([0.0, 1.0, 0.0])[:, None], count, axis=1)
    keep(
        (np.abs(p[0]) > CANAL) & (np.abs(p[0]) < STREET) & (p[2] < END) & (t > 0),
        t,
        _stone(p[0], p[2], p, upward, 3.0, 0.33, 0.5) * 1.1,
    )
    t = (side * CANAL - origin[0]) / np.where(ray[0] == 0, 1e-6, ray[0])
    p = origin + ray * np.clip(t, 0, 500)
    inward = np.stack([-side, np.zeros(count), np.zeros(count)])
    bank = _stone(p[2], p[1], p, inward, 4.0) * (0.55 + 0.45 * smoothstep(0.0, 0.6, p[1]))[None]
    keep((p[1] > 0) & (p[1] < QUAY) & (p[2] < END) & (t > 0), t, bank)
    for z, back in ((BRIDGE, False), (BRIDGE + 4.5, True)):
        t = (z - origin[2]) / ray[2]
        p = origin + ray * t
        toward = np.repeat(np.array([0.0, 0.0, -1.0])[:, None], count, axis=1)
        light = _stone(p[0], p[1], p, toward, 5.0, 0.36, 0.8) * 1.3 + np.array([0.010, 0.010, 0.014])[:, None]
        rail = np.abs(p[1] - _bridge_top(p[0]) - 0.66) < 0.11
        ring = np.abs(np.hypot(p[0] / 5.4, (p[1] - 0.15) / 3.05) - 1.04) < 0.045
        light = np.where(rail | ring, light * 1.7 + 0.012, light)
        keep(_bridge(p[0], p[1]) & (ray[2] > 0.02), t, light * (0.5 if back else 1.0))
    for distance, light in (_posts(origin, ray), _boats(origin, ray)):
        keep(np.isfinite(distance), distance, light)
    haze = 1 - np.exp(-np.minimum(nearest, 200) * 0.0075)
    haze = np.where(np.isfinite(nearest), haze, 0.0)
    colour = colour * (1 - haze) + np.array([0.050, 0.044, 0.070])[:, None] * haze
    for lamp in LAMPS:
        to = lamp[:, None] - origin
        along = dot(to, ray)
        off = dot(to, to) - along * along
        seen = (along > 0) & (along < nearest + 0.4)
        bloom = 0.045 / (off + 0.05) + 0.055 / (off + 0.9)
        colour = colour + WARM * np.where(seen, bloom * np.exp(-along * 0.012), 0.0)
    return colour, nearest


def _shade(x: Array, y: Array) -> Array:
    ray = CAMERA.directions(x, y)
    origin = np.repeat(np.array(CAMERA.position, dtype=np.float32)[:, None], ray.shape[1], axis=1)
    colour, nearest = _town(origin, ray)
    t = np.where(ray[1] < -1e-4, -origin[1] / np.minimum(ray[1], -1e-4), np.inf)
    wet = np.flatnonzero(t < nearest)
    if wet.size:
        ray, t = ray[:, wet], t[wet]
        p = origin[:, wet] + ray * t

        def surface(u: Array, v: Array) -> Array:
            return np.asarray(
                fbm(u * 0.9, v * 1.6, 4, 0.55)
                + 0.25 * np.sin(v * 1.3 + u * 0.4 + 4 * fbm(u * 0.2, v * 0.2, 2))
            )

        here, spread = surface(p[0], p[2]), 0.06
        dx, dz = (
            (surface(p[0] + spread, p[2]) - here) / spread,
            (surface(p[0], p[2] + spread) - here) / spread,
        )
        rough = 0.030 / (1 + 0.012 * t)
        normal = unit(np.stack([-dx * rough, np.ones_like(dx), -dz * rough * 1.8]))
        facing = np.clip(-dot(ray, normal), 0.0, 1.0)
        mirror = ray + 2 * facing * normal
        mirror[1] = np.maximum(mirror[1], 0.005)
        reflected, _ = _town(p + np.array([0.0, 0.01, 0.0])[:, None], unit(mirror))
        fresnel = 0.22 + 0.78 * (1 - facing) ** 3
        colour[:, wet] = (
            reflected * fresnel * np.array([0.86, 0.92, 1.0])[:, None]
            + np.array([0.004, 0.010, 0.020])[:, None]
        )
    vignette = 1 - 0.30 * smoothstep(0.8, 2.0, np.hypot(x, y))
    return filmic(colour * vignette, 1.15)


def draw(size: int) -> Array:
    """The town at `size` pixels wide and two thirds as high."""
    return cast(_shade, size, size * 2 // 3)

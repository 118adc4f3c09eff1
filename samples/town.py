"""A town at night: a canal between gabled houses with lit windows, under a church and the moon."""

import numpy as np

from samples.canvas import Array, Mask, filmic, smoothstep
from samples.noise import fbm, value
from samples.rays import Camera, cast, dot, unit
from samples.town_fronts import (
    BRIDGE,
    CANAL,
    END,
    LAMPS,
    MOON,
    MOONLIGHT,
    NIGHT,
    QUAY,
    STREET,
    WARM,
    front,
    gable,
    house,
    lamplight,
    scatter,
)

CAMERA = Camera(position=(-1.6, 3.7, -1.0), target=(0.9, 5.6, 30.0), tangent=0.56)
BOATS = (
    (-4.9, 10.5, 0.95, 2.9),
    (4.7, 9.0, 1.0, 3.2),
    (5.0, 19.0, 0.95, 2.8),
    (-5.1, 23.5, 0.9, 2.8),
    (-4.9, 31.0, 0.9, 2.5),
)
"""Moored boats as (x, z, half width, half length)."""


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
    cell = scatter(np.floor(u), np.floor(v))
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


def _square(x: Array, y: Array, p: Array, t: Array) -> tuple[Array, Mask]:
    """The far end: a row of houses and a church with a lit clock; its light (3, n) and cover (n,)."""
    number, offset, half, eaves = house(x + 60.0, 0)
    houses = y < gable(number, offset, half, eaves - 1.0, 0)
    normal = np.repeat(np.array([0.0, 0.0, -1.0])[:, None], p.shape[1], axis=1)
    colour = front(x + 60.0, y, 0, t, p, normal)
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
    block = scatter(np.floor(shift), course, row)
    albedo = (
        np.array([0.34, 0.29, 0.24])[:, None]
        * (0.65 + 0.55 * block)
        * (1 - 0.55 * joint)
        * (0.6 + 0.7 * fbm(x * 2, y * 2, 4))
    )
    light = lamplight(p, normal) + MOONLIGHT * 0.6 + NIGHT
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
                lamplight(p, normal) * 1.2 + MOONLIGHT * (0.4 + 0.5 * np.clip(normal[1], 0, 1)) + NIGHT * 1.3
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
            number, offset, half, eaves = house(q[2] + (2.2 if roof else 0.0), row)
            if roof:
                top = eaves + 2.1 + 0.7 * np.sin(number) + (np.abs(offset - 0.3 * half) < 0.4) * 1.4
                tiles = 0.6 + 0.5 * (np.mod(q[1] / 0.35 + value(q[2] * 3, q[1] * 3), 1) < 0.6)
                light = np.array([0.075, 0.060, 0.075])[:, None] * tiles * 0.45 + NIGHT * 0.2
            else:
                top = gable(number, offset, half, eaves, row)
                normal = np.repeat(np.array([-float(row), 0.0, 0.0])[:, None], at.size, axis=1)
                light = front(q[2], q[1], row, t[at], q, normal)
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

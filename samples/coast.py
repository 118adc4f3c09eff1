"""A coast by day: a bay with a beach, cliffs, sea stacks and a lighthouse, ray-marched."""

import numpy as np

from samples.canvas import Array, filmic, smoothstep
from samples.coast_land import LIGHTHOUSE, STACKS, SUN, buildings, ground, lit, march
from samples.noise import fbm, fbm3, value
from samples.rays import Camera, cast, dot, unit

CAMERA = Camera(position=(3.0, 9.0, -14.0), target=(7.0, 6.3, 40.0), tangent=0.46)
SUNLIGHT = np.array([1.0, 0.84, 0.62])[:, None] * 3.2
SKYLIGHT = np.array([0.42, 0.60, 0.95])[:, None] * 0.75
HAZE = np.array([0.58, 0.74, 0.92])[:, None]

SAILS = ((56.0, 104.0, 8.5), (118.0, 175.0, 9.5), (52.0, 150.0, 6.5))
"""Boats as (x, z, mast height) in metres."""


def _clouds(ray: Array) -> tuple[Array, Array]:
    """Cumulus between two heights: the light they send (3, n) and the share of sky they leave (n,)."""
    left = np.ones(ray.shape[1], dtype=np.float32)
    light = np.zeros((3, ray.shape[1]), dtype=np.float32)
    up = np.maximum(ray[1], 0.02)
    base, top, steps = 1.0, 1.75, 40
    glow = 0.75 + 0.5 * np.clip(dot(ray, SUN), 0, 1) ** 6
    for step in range(steps):
        level = base + (top - base) * (step + 0.5) / steps
        t = level / up
        x, z = ray[0] * t, ray[2] * t
        at = np.flatnonzero((left > 0.02) & (_cloud_density(x, level, z, 2) > -1.2))
        if not at.size:
            continue
        x, z = x[at], z[at]
        density = np.clip(_cloud_density(x, level, z, 5), 0, 1)
        sunward = np.clip(
            _cloud_density(x + 0.16 * SUN[0], level + 0.16 * SUN[1], z + 0.16 * SUN[2], 4), 0, 1
        )
        fade = np.exp(-0.045 * np.maximum(t[at] - 2.0, 0.0))
        alpha = 1 - np.exp(-density * 18.0 * (top - base) / steps / np.maximum(up[at], 0.16))
        shade = 0.50 + 0.50 * (level - base) / (top - base)
        colour = (
            SUNLIGHT * 0.78 * np.exp(-2.4 * sunward) * glow[at]
            + np.array([0.50, 0.61, 0.80])[:, None] * 0.85 * shade
        )
        colour = HAZE * (1 - fade) + colour * fade
        light[:, at] += left[at] * alpha * colour
        left[at] *= 1 - alpha
    return light, left


def _cloud_density(x: Array, level: float, z: Array, octaves: int) -> Array:
    """Thickness of cloud, negative in clear air; few octaves give a rough figure."""
    body = fbm3(x * 0.62 + 5.4, np.full_like(x, level * 1.1), z * 0.62 + 2.2, octaves, 0.52)
    profile = 0.520 + 0.16 * max(0.0, (level - 1.12) / 0.6) + 0.5 * max(0.0, 1.06 - level)
    return np.asarray((body - profile) * 5.0)


def _sky(ray: Array) -> Array:
    up = np.clip(ray[1], 0.0, 1.0)
    toward = np.clip(dot(ray, SUN), 0.0, 1.0)
    zenith = np.array([0.07, 0.23, 0.66])[:, None]
    low = np.array([0.48, 0.68, 0.92])[:, None]
    sky = zenith + (low - zenith) * np.exp(-up * 4.2) + np.array([1.0, 0.8, 0.5])[:, None] * 0.25 * toward**8
    light, left = _clouds(ray)
    return np.asarray(sky * left + light)


def _normal(p: Array, spread: Array) -> Array:
    x, z = p[0], p[2]
    dx = ground(x + spread, z) - ground(x - spread, z)
    dz = ground(x, z + spread) - ground(x, z - spread)
    return unit(np.stack([-dx, 2 * spread, -dz]))


def _land(p: Array, t: Array) -> Array:
    """Sunlit ground: sand, grass or banded rock by height and slope."""
    x, y, z = p
    normal = _normal(p, np.maximum(0.14, 0.0016 * t))
    fine = fbm(x * 1.7, z * 1.7 + y, 5)
    patch = fbm(x * 0.16 + 9, z * 0.16, 4)
    bent = y * 0.85 + 0.10 * x + 2.2 * fbm(x * 0.13, z * 0.13, 3)
    strata = fbm(x * 0.35 + z * 0.2, bent * 1.5, 5, 0.6)
    rock = np.array([0.34, 0.235, 0.15])[:, None] * (0.25 + 1.6 * strata * (0.35 + 1.2 * fine))
    rock = rock + np.array([0.11, 0.07, 0.03])[:, None] * smoothstep(0.42, 0.68, strata)
    blades = value(x * 9, z * 3.0)
    green = np.array([0.075, 0.165, 0.03])[:, None] * (0.6 + 0.8 * fine) * (0.7 + 0.6 * blades)
    straw = np.array([0.27, 0.25, 0.07])[:, None] * (0.5 + fine) * (0.75 + 0.5 * blades)
    dry = smoothstep(0.46, 0.66, patch + 0.3 * (fine - 0.5))
    grass = green * (1 - dry) + straw * dry
    ripple = 0.5 + 0.5 * np.sin(8 * x + 3 * z + 9 * fbm(x * 0.5, z * 0.5, 3))
    sand = np.array([0.56, 0.42, 0.25])[:, None] * (0.78 + 0.30 * fine + 0.10 * ripple)
    wet = smoothstep(0.62, 0.18, y + 0.25 * (patch - 0.5))
    sand = sand * (1 - 0.55 * wet)
    grassy = smoothstep(1.25, 1.75, y + 1.3 * (fine - 0.5)) * smoothstep(
        0.60, 0.80, normal[1] + 0.25 * (fine - 0.5)
    )
    steep = smoothstep(0.86, 0.72, normal[1])
    albedo = sand * (1 - steep) + rock * steep
    albedo = albedo * (1 - grassy) + grass * grassy
    out_to_sea = np.zeros_like(x)
    for sx, sz, radius, _ in STACKS:
        out_to_sea = np.maximum(out_to_sea, smoothstep(1.7, 1.2, np.hypot(x - sx, z - sz) / radius))
    out_to_sea = out_to_sea * (1 - 0.9 * grassy)
    albedo = albedo * (1 - out_to_sea) + rock * out_to_sea
    bump = 0.9 * (fbm(x * 2.2 + 0.3, z * 2.2 + y * 2.2, 4) - fbm(x * 2.2, z * 2.2 + y * 2.2 + 0.2, 4))
    direct = np.clip(dot(normal, SUN) + bump * (0.3 + steep), 0, 1) * lit(p + normal * 0.12)
    hollow = np.clip(0.5 + 0.5 * (y - ground(x + 1.2, z) + y - ground(x, z - 1.2)) * 0.6, 0.25, 1.0)
    ambient = SKYLIGHT * (0.55 + 0.45 * normal[1]) * hollow + np.array([0.25, 0.19, 0.12])[:, None] * 0.5
    return np.asarray(albedo * (SUNLIGHT * direct + ambient))


def _house(p: Array) -> Array:
    """The lighthouse's and cottage's paint under the sun."""
    small = 0.02
    gradient = [
        buildings(p + small * axis[:, None]) - buildings(p - small * axis[:, None]) for axis in np.eye(3)
    ]
    normal = unit(np.stack(gradient) + 1e-9)
    base = float(ground(np.array([LIGHTHOUSE[0]]), np.array([LIGHTHOUSE[1]]))[0]) - 0.3
    up, ring = p[1] - base, np.hypot(p[0] - LIGHTHOUSE[0], p[2] - LIGHTHOUSE[1])
    white, red = np.array([0.86, 0.83, 0.76])[:, None], np.array([0.58, 0.07, 0.045])[:, None]
    tower = ring < 1.8
    band = (tower & (((up > 3.0) & (up < 5.2)) | ((up > 7.4) & (up < 9.4)))) | (up > 11.9)
    roof = ~tower & (up > 2.35) & (normal[1] > 0.2)
    glass = tower & (up > 10.4) & (up < 11.8)
    albedo = np.where(band | roof, red, white)
    albedo = np.where(glass, np.array([0.12, 0.16, 0.2])[:, None], albedo)
    window = ~tower & (np.abs(up - 1.4) < 0.45) & (np.abs(np.mod(p[0], 1.7) - 0.85) < 0.32)
    albedo = np.where(window, 0.06, albedo)
    direct = np.clip(dot(normal, SUN), 0, 1) * lit(p + normal * 0.15)
    return np.asarray(albedo * (SUNLIGHT * direct + SKYLIGHT * 0.9))


def _solid(p: Array, t: Array) -> Array:
    colour = _land(p, t)
    built = (buildings(p) < 0.03 + 0.001 * t) & (p[1] > 2)
    if built.any():
        colour[:, built] = _house(p[:, built])
    return colour


def _sails(origin: Array, ray: Array, limit: Array) -> tuple[Array, Array]:
    """White sails as flat shapes facing the shore: their light (3, n) and cover (n,)."""
    light, cover = np.zeros_like(ray), np.zeros(ray.shape[1], dtype=bool)
    for x0, z0, mast in SAILS:
        t = (z0 - origin[2]) / ray[2]
        x, y = (origin[0] + ray[0] * t - x0) / mast, (origin[1] + ray[1] * t) / mast
        seen = (t > 0) & (t < limit)
        main = (x > 0.03) & (x < 0.55 * (1.02 - y)) & (y > 0.16)
        jib = (x < 0.0) & (x > -0.38 * (0.86 - y)) & (y > 0.14)
        hull = (np.abs(y - 0.06) < 0.055) & (x > -0.42 - 0.6 * y) & (x < 0.52 + 0.3 * y)
        shade = 2.1 - 0.9 * np.clip(x / 0.5, 0, 1)
        colour = np.where(
            main | jib, np.array([1.0, 0.93, 0.80])[:, None] * shade, np.array([0.35, 0.06, 0.04])[:, None]
        )
        chosen = seen & (main | jib | hull)
        light = np.where(chosen, colour, light)
        cover |= chosen
    return light, cover


def _sea(p: Array, ray: Array, t: Array) -> Array:
    """Water: the sky and land that it mirrors, the bottom seen through it, foam and the sun's glitter."""
    x, z = p[0], p[2]
    depth = -ground(x, z)
    calm = 1 / (1 + 0.010 * t)

    def surface(u: Array, v: Array) -> Array:
        swell = 0.10 * np.sin(0.75 * v + 0.35 * u + 3 * fbm(u * 0.08, v * 0.08, 2))
        return np.asarray(swell + 0.42 * fbm(u * 0.55, v * 0.95, 5, 0.55))

    spread = 0.05 + 0.0012 * t
    here = surface(x, z)
    dx, dz = (surface(x + spread, z) - here) / spread, (surface(x, z + spread) - here) / spread
    normal = unit(np.stack([-dx * calm * 0.55, np.ones_like(x), -dz * calm * 0.75]))
    facing = np.clip(-dot(ray, normal), 0.02, 1)
    mirror: Array = ray + 2 * facing * normal
    mirror[1] = np.abs(mirror[1]) + 0.01
    mirror = unit(mirror)
    reflected = _sky(mirror)
    origin = p + np.array([0.0, 0.05, 0.0])[:, None]
    back = march(origin, mirror, 46, 90.0)
    land = np.isfinite(back)
    if land.any():
        q = origin[:, land] + mirror[:, land] * back[land]
        reflected[:, land] = _solid(q, back[land]) * 0.9
    light, cover = _sails(origin, mirror, back)
    reflected = np.where(cover, light * 0.8, reflected)
    fresnel = 0.03 + 0.97 * (1 - facing) ** 5
    patches = fbm(x * 0.06, z * 0.03 + 7, 4)
    deep = np.array([0.006, 0.075, 0.16])[:, None] * (0.6 + 0.8 * patches)
    shallow = np.array([0.05, 0.42, 0.42])[:, None]
    bottom = np.array([0.62, 0.52, 0.32])[:, None]
    clear = np.exp(-np.maximum(depth, 0) * np.array([1.5, 0.75, 0.6])[:, None])
    tint = np.exp(-np.maximum(depth, 0) * 0.42)
    body = (deep * (1 - tint) + shallow * tint) * (1 - clear) + bottom * clear
    sun = lit(p + np.array([0.0, 0.2, 0.0])[:, None])
    body = body * (0.35 + 0.75 * sun) * (0.9 + 0.35 * (here - 0.2))
    colour = body * (1 - fresnel) + reflected * fresnel
    half = unit(SUN[:, None] - ray)
    colour = colour + SUNLIGHT * 1.2 * sun * np.clip(dot(normal, half), 0, 1) ** 260
    lace = fbm(x * 1.1, z * 1.1, 5)
    front = depth + 0.55 * (fbm(x * 0.25, z * 0.25, 3) - 0.5)
    breakers = sum(
        smoothstep(0.11, 0.0, np.abs(front - at) / (1 + at)) * gain
        for at, gain in ((0.1, 1.0), (0.55, 0.9), (1.15, 0.7))
    )
    trailing = smoothstep(1.4, 0.0, front) * smoothstep(0.55, 0.40, np.abs(lace - 0.5) * 9)
    foam = np.clip(np.asarray(breakers) * smoothstep(0.36, 0.55, lace + 0.1) + 0.55 * trailing, 0, 1)
    caps = smoothstep(0.60, 0.80, fbm(x * 0.30, z * 0.9, 5)) * smoothstep(0.45, 0.62, lace) * 0.6
    foam = np.clip(foam + caps * smoothstep(1.0, 3.0, depth), 0, 1)
    return np.asarray(colour * (1 - foam) + (0.35 + 1.5 * sun) * np.array([0.80, 0.84, 0.86])[:, None] * foam)


def _gulls(x: Array, y: Array) -> Array:
    """Cover of a few birds drawn on the screen."""
    cover = np.zeros_like(x)
    for bx, by, span, tilt in (
        (-0.52, 0.34, 0.050, 0.2),
        (-0.38, 0.42, 0.034, -0.15),
        (-0.70, 0.46, 0.028, 0.1),
    ):
        u, v = (x - bx) / span, (y - by) / span
        v = v - tilt * u
        arch = 0.42 * np.sqrt(np.abs(u) + 0.02) - 0.42 * np.abs(u) ** 1.6
        thick = 0.10 * (1.05 - np.abs(u))
        cover = np.maximum(cover, smoothstep(thick + 0.05, thick, np.abs(v - arch)) * (np.abs(u) < 1))
    return cover


def _shade(x: Array, y: Array) -> Array:
    ray = CAMERA.directions(x, y)
    origin = np.repeat(np.array(CAMERA.position, dtype=np.float32)[:, None], ray.shape[1], axis=1)
    land = march(origin, ray, 150, 260.0)
    sea = np.where(ray[1] < -1e-4, -origin[1] / np.minimum(ray[1], -1e-4), np.inf)
    water = sea < land
    solid = ~water & np.isfinite(land)
    empty = ~water & ~solid
    colour = np.zeros_like(ray)
    if empty.any():
        colour[:, empty] = _sky(ray[:, empty])
    if solid.any():
        colour[:, solid] = _solid(origin[:, solid] + ray[:, solid] * land[solid], land[solid])
    if water.any():
        colour[:, water] = _sea(origin[:, water] + ray[:, water] * sea[water], ray[:, water], sea[water])
    distance = np.where(water, sea, land)
    light, cover = _sails(origin, ray, distance)
    colour = np.where(cover, light, colour)
    thick = np.where(empty, 0.0, 1 - np.exp(-((np.minimum(distance, 2e4) * 0.0026) ** 1.5)))
    colour = colour * (1 - thick) + HAZE * thick
    colour = colour * (1 - 0.8 * _gulls(x, y))
    vignette = 1 - 0.16 * smoothstep(0.9, 2.0, np.hypot(x, y * 1.2))
    return filmic(colour * vignette, 0.50)


def draw(size: int) -> Array:
    """The coast at `size` pixels wide and two thirds as high."""
    return cast(_shade, size, size * 2 // 3)

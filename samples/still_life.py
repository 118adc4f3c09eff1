"""A still life by a window: a glazed jug, a copper bowl of fruit, a cut lemon and grapes on a cloth."""

import numpy as np

from samples.canvas import Array, Index, filmic, smoothstep
from samples.noise import fbm, fbm3, value
from samples.rays import Camera, cast, dot, unit
from samples.still_life_shapes import (
    APPLE,
    BOWL,
    BOWL_AT,
    CLOTH,
    CUT,
    GRAPE,
    JUG,
    JUG_AT,
    LEAF,
    LEMON,
    LEMON_HALF,
    ORANGE,
    PEAR,
    STEM,
    TABLE,
    WALL,
    distance,
    kind_of,
)

CAMERA = Camera(position=(0.0, 2.55, -6.6), target=(0.0, 0.92, 0.0), tangent=0.315)
WINDOW = unit(np.array([-0.78, 0.62, -0.42]))
WINDOW_RIGHT = unit(np.cross([0.0, 1.0, 0.0], WINDOW))
WINDOW_UP = np.cross(WINDOW, WINDOW_RIGHT)
SUNLIGHT = np.array([1.0, 0.87, 0.68])[:, None] * 3.3
FILL = np.array([0.30, 0.36, 0.48])[:, None] * 0.34
BOUNCE = np.array([0.55, 0.36, 0.20])[:, None] * 0.22


def _march(origin: Array, ray: Array) -> Array:
    """Distance along each ray to the first surface, at most 16."""
    t = np.full(ray.shape[1], 3.2, dtype=np.float32)
    active = np.arange(ray.shape[1])
    for _ in range(90):
        gap = distance(origin[:, active] + ray[:, active] * t[active])
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
        total += offset * distance(p + 0.0025 * offset)
    return unit(total + 1e-12)


def _lit(p: Array) -> Array:
    """Share of the window that a point sees: wide and soft, for the window is near."""
    light, t = np.ones(p.shape[1]), np.full(p.shape[1], 0.04)
    for _ in range(26):
        gap = distance(p + WINDOW[:, None] * t)
        light = np.minimum(light, np.clip(0.5 + 3.6 * gap / t, 0, 1))
        t = t + np.clip(gap, 0.035, 0.35)
    return np.asarray(light * light * (3 - 2 * light))


def _open(p: Array, normal: Array) -> Array:
    """How little the surroundings close a point in, 0..1."""
    closed = np.zeros(p.shape[1])
    for step, weight in ((0.05, 1.0), (0.14, 0.8), (0.32, 0.55), (0.6, 0.3)):
        closed += weight * np.clip(step - distance(p + normal * step), 0, None) / step
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
    normal, kind = _normal(p), kind_of(p)
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

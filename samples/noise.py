"""Seedless value noise and its fractal sum, in two and three dimensions, vectorised.

The lattice values come from one fixed table, so a point always has the same value at every picture size.
"""

import numpy as np

from samples.canvas import Array, Index

_SIDE_2D = 256
_SIDE_3D = 64
_PLANE = np.random.default_rng(7).random(_SIDE_2D * _SIDE_2D, dtype=np.float32)
_SOLID = np.random.default_rng(11).random(_SIDE_3D**3, dtype=np.float32)


def _split(coordinate: Array, side: int) -> tuple[Index, Index, Array]:
    """Lattice index, next lattice index and smooth fraction of a coordinate."""
    whole = np.floor(coordinate)
    fraction = (coordinate - whole).astype(np.float32)
    index = whole.astype(np.int32)
    return index & (side - 1), (index + 1) & (side - 1), fraction * fraction * (3.0 - 2.0 * fraction)


def value(x: Array, y: Array) -> Array:
    """Smooth noise in 0..1 with features of size 1."""
    x0, x1, fx = _split(x, _SIDE_2D)
    y0, y1, fy = _split(y, _SIDE_2D)
    y0, y1 = y0 * _SIDE_2D, y1 * _SIDE_2D
    top = _PLANE[y0 + x0] * (1 - fx) + _PLANE[y0 + x1] * fx
    bottom = _PLANE[y1 + x0] * (1 - fx) + _PLANE[y1 + x1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy)


def fbm(x: Array, y: Array, octaves: int = 5, gain: float = 0.5) -> Array:
    """Fractal sum of `value` in 0..1; each octave is turned and about twice as fine as the one before."""
    total = np.zeros(np.broadcast(x, y).shape, dtype=np.float32)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        total += weight * value(x, y)
        weights += weight
        x, y = 1.62 * x + 1.21 * y + 17.3, -1.21 * x + 1.62 * y + 5.7
        weight *= gain
    return np.asarray(total / weights)


def value3(x: Array, y: Array, z: Array) -> Array:
    """Smooth noise in 0..1 over space with features of size 1."""
    x0, x1, fx = _split(x, _SIDE_3D)
    y0, y1, fy = _split(y, _SIDE_3D)
    z0, z1, fz = _split(z, _SIDE_3D)
    planes = []
    for zi in (z0 * _SIDE_3D**2, z1 * _SIDE_3D**2):
        rows = []
        for yi in (y0 * _SIDE_3D + zi, y1 * _SIDE_3D + zi):
            near = _SOLID[yi + x0]
            rows.append(near + (_SOLID[yi + x1] - near) * fx)
        planes.append(rows[0] + (rows[1] - rows[0]) * fy)
    return np.asarray(planes[0] + (planes[1] - planes[0]) * fz)


def fbm3(x: Array, y: Array, z: Array, octaves: int = 4, gain: float = 0.5) -> Array:
    """Fractal sum of `value3` in 0..1."""
    total = np.zeros(np.broadcast(x, y, z).shape, dtype=np.float32)
    weight, weights = 1.0, 0.0
    for _ in range(octaves):
        total += weight * value3(x, y, z)
        weights += weight
        x, y, z = 1.62 * x + 1.21 * z + 9.1, 2.03 * y + 3.7, -1.21 * x + 1.62 * z + 4.3
        weight *= gain
    return np.asarray(total / weights)

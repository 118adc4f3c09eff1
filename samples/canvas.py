"""Arrays as pictures: pixel grids, colour helpers, blurs, and saving under a size limit.

Knows nothing of any one picture. Colours are floats in 0..1, shape (height, width, 3) unless a docstring
says otherwise.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.integer[Any]]
Colour = tuple[float, float, float]

SIZE_LIMIT = 195_000
"""Bytes that a saved picture may take; under the 200 kB that the repository allows a sample."""


def grid(width: int, height: int) -> tuple[Array, Array]:
    """Pixel centres as (x, y), each (height, width): y from 0 at the top to 1, x from 0 to width / height."""
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return (xs + 0.5) / height, (ys + 0.5) / height


def smoothstep(low: Array | float, high: Array | float, value: Array) -> Array:
    """The cubic ramp from 0 at `low` to 1 at `high` (which may lie below `low` for a falling ramp)."""
    t = np.clip((value - low) / (np.asarray(high) - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def mix(first: Array | Colour, second: Array | Colour, weight: Array) -> Array:
    """Blend two colours or pictures by a weight of shape (...), whose last axis is added for the channels."""
    a, b = np.asarray(first, dtype=np.float32), np.asarray(second, dtype=np.float32)
    return np.asarray(a + (b - a) * weight[..., None])


def gradient(stops: list[tuple[float, Colour]], value: Array) -> Array:
    """A colour ramp: `stops` are (position, colour) in rising order; returns value.shape + (3,)."""
    positions = [position for position, _ in stops]
    channels = [np.interp(value, positions, [colour[c] for _, colour in stops]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def hexcolour(code: str) -> Colour:
    """'#rrggbb' as three floats."""
    return (int(code[1:3], 16) / 255, int(code[3:5], 16) / 255, int(code[5:7], 16) / 255)


def blur(picture: Array, radius: float) -> Array:
    """Near-Gaussian blur of (height, width[, channels]) by three box passes; `radius` is in pixels."""
    width = max(1, round(radius * 1.88)) // 2 * 2 + 1
    if width == 1:
        return picture
    out = picture.astype(np.float64)
    for _ in range(3):
        for axis in (0, 1):
            margin = [(0, 0)] * out.ndim
            margin[axis] = (width // 2 + 1, width // 2)
            total = np.cumsum(np.pad(out, margin, mode="edge"), axis=axis)
            count = out.shape[axis]
            upper = np.take(total, np.arange(width, width + count), axis=axis)
            lower = np.take(total, np.arange(0, count), axis=axis)
            out = (upper - lower) / width
    return out.astype(np.float32)


def relief(
    height: Array, strength: float, light: tuple[float, float, float] = (-0.55, -0.65, 0.6)
) -> tuple[Array, Array]:
    """Light a height map of pixels: (diffuse, specular), each of its shape; diffuse is 1 on the flat."""
    dy, dx = np.gradient(height * strength)
    norm = np.sqrt(dx * dx + dy * dy + 1.0)
    direction = np.asarray(light) / np.linalg.norm(light)
    diffuse = (-dx * direction[0] - dy * direction[1] + direction[2]) / norm / direction[2]
    half = direction + np.array([0.0, 0.0, 1.0])
    half = half / np.linalg.norm(half)
    specular = np.clip((-dx * half[0] - dy * half[1] + half[2]) / norm, 0.0, 1.0) ** 40
    return np.asarray(np.clip(diffuse, 0.0, 2.0)), np.asarray(specular)


def filmic(light: Array, exposure: float = 1.0) -> Array:
    """Linear light to display values: Narkowicz's fit of the ACES curve, then the sRGB gamma."""
    x = np.maximum(light * exposure, 0.0)
    curve = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    return np.asarray(np.clip(curve, 0.0, 1.0) ** (1 / 2.2))


def to_image(picture: Array) -> Image.Image:
    """A Pillow picture of (height, width, 3) floats, clipped to 0..1."""
    return Image.fromarray((np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), "RGB")


def from_image(image: Image.Image) -> Array:
    """The floats of an RGB or L picture."""
    return np.asarray(image, dtype=np.float32) / 255.0


def resize(picture: Array, width: int, height: int) -> Array:
    """Resample (height, width, 3) with an area-correct Lanczos filter."""
    return from_image(to_image(picture).resize((width, height), Image.Resampling.LANCZOS))


def save_jpeg(picture: Array, path: Path) -> int:
    """Write the best JPEG under SIZE_LIMIT; returns its size in bytes."""
    image = to_image(picture)
    for quality in range(95, 40, -1):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        if buffer.tell() <= SIZE_LIMIT:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return buffer.tell()

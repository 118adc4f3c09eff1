"""Between picture files and tensors: decode bytes to RGB in [0, 1], encode a result.

The service hands in clean copies (8-bit sRGB, upright, over white); files straight from a person are made so
here, but for their colour profile. Untrusted files belong to `shared.pictures`, not here.
"""

import io

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

CONTENT_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


def decode(data: bytes) -> Tensor:
    """A picture file as a tensor of shape (3, H, W), float32 RGB in [0, 1]."""
    with Image.open(io.BytesIO(data)) as picture:
        rgb = _on_white(ImageOps.exif_transpose(picture))
    pixels = torch.from_numpy(np.array(rgb))
    return pixels.permute(2, 0, 1).contiguous().float().div_(255)


def _on_white(picture: Image.Image) -> Image.Image:
    """8-bit RGB over white, as the service's clean copies are."""
    if picture.mode.startswith("I;16"):  # Pillow's own conversion would clip
        picture = Image.fromarray((np.array(picture) >> 8).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    with_alpha = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(with_alpha.convert("RGB"), mask=with_alpha.getchannel("A"))
    return white


def decode_grey(data: bytes) -> Tensor:
    """A picture file's luma as a tensor of shape (H, W), float32 in [0, 1].

    Luma is Rec. 601's 0.299 R + 0.587 G + 0.114 B of the values as stored, so that a grey picture's own
    values come back; a coloured one is read by how bright it looks.
    """
    luma = torch.tensor([0.299, 0.587, 0.114])
    return torch.einsum("c,chw->hw", luma, decode(data)).clamp(0, 1)


def encode(image: Tensor, file_format: str, quality: int) -> bytes:
    """A tensor of shape (3, H, W) in [0, 1] as a file.

    Args:
        image: the picture; values outside [0, 1] are clamped.
        file_format: `png`, `jpeg` or `webp`.
        quality: 1 to 100 for JPEG and WebP.
    """
    pixels = image.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    buffer = io.BytesIO()
    if file_format == "png":
        picture.save(buffer, "PNG", compress_level=6)
    elif file_format == "jpeg":
        # 4:4:4: thin coloured strokes are what subsampling hurts most.
        picture.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    else:
        picture.save(buffer, file_format.upper(), quality=quality)
    return buffer.getvalue()

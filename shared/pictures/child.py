"""Decode one picture: the program that runs in a child process of its own (`forkserver.py`).

It reads the file from standard input and writes to standard output: the clean PNG with exit status 0, or
`{"fault": ..., "detail": ...}` with exit status `FAULT`. Whatever else happens is a crash. It knows nothing
of the service and imports none of it: a decoder that is taken over by a prepared file finds no settings and
no environment, can write no file and start no process, and has little memory and time.

The clean copy: first frame, upright by its EXIF orientation, in sRGB, 8 bits a channel, transparency over
white, without metadata. The same file gives the same bytes with the same version of Pillow.
"""

import io
import json
import resource
import struct
import sys
from collections.abc import Callable

from PIL import (
    Image,
    ImageChops,
    ImageCms,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - not among the plugins that `preinit` brings
)

#: Formats by content; a name or a Content-Type decides nothing.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
FAULT = 3
TOO_LARGE = "too_large"
UNREADABLE = "unreadable"

_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4 A
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What Pillow raises for a file that is damaged or lies about itself.
_DAMAGE = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError, struct.error)
#: On photographs, higher levels of zlib save a few per cent and take several times as long.
_COMPRESS_LEVEL = 3


class Refused(Exception):  # noqa: N818 - as the faults it becomes
    """The file gives no clean picture; `fault` is one of the two kinds above."""

    def __init__(self, fault: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


def render(data: bytes, max_pixels: int) -> bytes:
    """The clean PNG of a picture file.

    Raises:
        Refused: it is no picture in one of `FORMATS`, is damaged, or has too many pixels.
    """
    image = _open(data)
    width, height = image.size
    if width * height > max_pixels:
        raise Refused(
            TOO_LARGE,
            f"The picture has {_grouped(width * height)} pixels ({width} x {height}); "
            f"at most {_grouped(max_pixels)} are allowed: scale it down.",
        )
    try:
        image.load()
        orientation = _orientation(image)
        upright = _on_white(image)
    except _DAMAGE as error:
        raise Refused(UNREADABLE, f"The picture is damaged or incomplete: {_short(error)}.") from error
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    return _png(upright)


def _open(data: bytes) -> Image.Image:
    names = ", ".join("WebP" if name == "WEBP" else name for name in FORMATS)
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            detail = f"This is a web page or an SVG drawing; give a picture itself, one of {names}."
        else:
            detail = f"This is not a picture in a format that can be read: {names}."
        raise Refused(UNREADABLE, detail) from None
    except _DAMAGE as error:
        raise Refused(UNREADABLE, f"The picture's header is damaged: {_short(error)}.") from error


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:  # broken EXIF says nothing about the pixels
        return 1


def _on_white(image: Image.Image) -> Image.Image:
    """The loaded picture as 8-bit sRGB over white."""
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for one of Adobe's, stored inverted
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return _in_srgb(image.convert("RGB") if image.mode in ("P", "1") else image, profile)
    with_alpha = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(_in_srgb(with_alpha.convert("RGB"), profile), mask=with_alpha.getchannel("A"))
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """The high byte of each 16-bit value, as Pillow does it for colour; its conversion to L would clip."""
    values = image.tobytes("raw", "I;16")
    return Image.frombytes("L", image.size, values[1::2])


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Colours as the profile means them; one that is broken or for another kind of picture is ignored."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, *_DAMAGE):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _png(image: Image.Image) -> bytes:
    image.info.clear()
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=_COMPRESS_LEVEL)
    return file.getvalue()


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _short(error: BaseException) -> str:
    return str(error).rstrip(".")[:120] or type(error).__name__


def _limit(seconds: int, memory: int) -> None:
    """Take away what decoding does not need. macOS does not enforce RLIMIT_AS: only the pixel limit there."""
    limits = {
        resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU first: it tells the reason, SIGKILL does not
        resource.RLIMIT_AS: (memory, memory),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (16, 16),  # Python imports late, so a few
        resource.RLIMIT_NPROC: (0, 0),  # not enforced for root
    }
    for kind, wanted in limits.items():
        try:
            resource.setrlimit(kind, wanted)
        except (OSError, ValueError):
            if sys.platform == "linux":
                raise


def _answer(produce: Callable[[], bytes]) -> tuple[int, bytes]:
    try:
        return 0, produce()
    except Refused as refused:
        fault, detail = refused.fault, refused.detail
    except MemoryError:
        fault, detail = TOO_LARGE, "Decoding the picture takes more memory than is allowed: scale it down."
    return FAULT, json.dumps({"fault": fault, "detail": detail}).encode()


def main(max_pixels: int, seconds: int, memory: int) -> int:
    """Decode what standard input has.

    Args:
        max_pixels: width times height.
        seconds: of CPU.
        memory: bytes of address space.

    Returns:
        The exit status.
    """
    _limit(seconds, memory)
    data = sys.stdin.buffer.read()
    status, answer = _answer(lambda: render(data, max_pixels))
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return status


Image.MAX_IMAGE_PIXELS = None  # `render` has its own, stricter limit
Image.preinit()

"""Picture files that the tests make themselves."""

import io
import struct
import zlib

from PIL import Image, ImageCms


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)  # type: ignore[arg-type]
    return file.getvalue()


def decoded(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def corners(width: int = 6, height: int = 4) -> Image.Image:
    """A picture that tells every flip and turn apart: one colour a corner, on grey."""
    image = Image.new("RGB", (width, height), (90, 90, 90))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((width - 1, 0), (0, 255, 0))
    image.putpixel((0, height - 1), (0, 0, 255))
    image.putpixel((width - 1, height - 1), (255, 255, 0))
    return image


def gradient(width: int = 48, height: int = 32) -> Image.Image:
    red = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (red, red.transpose(Image.Transpose.ROTATE_180), Image.new("L", red.size, 60)))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    """A PNG by hand; `rows` each with its filter byte, `before` are chunks ahead of the data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *before]
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(rows, 9)), chunk(b"IEND", b"")])


def png_bomb(width: int, height: int) -> bytes:
    """A header that promises much and a little data."""
    return png(width, height, 8, 2, bytes(1000))


def gif_bomb() -> bytes:
    return (
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + bytes(4) + b"\xff\xff\xff\xff\x00;"
    )


def gif_with_a_frame_beyond_its_screen() -> bytes:
    small = bytearray(encoded(Image.new("P", (4, 4)), "GIF"))
    frame = small.index(b",")
    small[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    return bytes(small)


def webp_bomb() -> bytes:
    """VP8X with a canvas of 16 384 x 16 384 (RFC 9649, 2.7)."""
    inner = encoded(Image.new("RGB", (2, 2)), "WEBP", lossless=True)[12:]
    canvas = struct.pack("<I", 16_383)[:3]
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\x02\x00\x00\x00" + canvas * 2 + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """A JPEG without its segments of one kind."""
    kept, position = jpeg[:2], 2
    while jpeg[position + 1] != 0xDA:
        size = 2 + int.from_bytes(jpeg[position + 2 : position + 4])
        if jpeg[position + 1] != marker:
            kept += jpeg[position : position + size]
        position += size
    return kept + jpeg[position:]


def swapped_profile() -> bytes:
    """An sRGB profile whose red and blue primaries have changed places: what it does cannot be overlooked."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")

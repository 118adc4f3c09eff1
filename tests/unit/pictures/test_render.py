"""What a clean copy looks like. The program's own function is called here; the process around it is tested
in `test_sandbox.py`."""

import io
import random
import zlib
from collections.abc import Iterator

import pytest
from PIL import Image, ImageChops

from shared.pictures import child
from tests.unit.pictures.files import (
    chunk,
    corners,
    decoded,
    encoded,
    gif_bomb,
    gif_with_a_frame_beyond_its_screen,
    gradient,
    png,
    png_bomb,
    swapped_profile,
    webp_bomb,
    without_segment,
)

#: As in the child, which is started with `-W ignore`.
pytestmark = pytest.mark.filterwarnings("ignore")

PIXELS = 1_000_000


@pytest.fixture(autouse=True)
def as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def rendered(data: bytes) -> Image.Image:
    image = decoded(child.render(data, PIXELS))
    assert image.mode == "RGB"
    return image


def fault(data: bytes) -> tuple[str, str]:
    with pytest.raises(child.Refused) as caught:
        child.render(data, PIXELS)
    return caught.value.fault, caught.value.detail


def difference(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel."""
    assert one.size == other.size
    extrema = ImageChops.difference(one, other).getextrema()
    return max(high for _, high in extrema)  # type: ignore[misc,union-attr]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100, "subsampling": 0})],
)
def test_a_picture_keeps_its_pixels(file_format: str, options: dict[str, object]) -> None:
    assert difference(rendered(encoded(gradient(), file_format, **options)), gradient()) <= 2


def test_the_same_file_gives_the_same_bytes() -> None:
    file = encoded(gradient(), "JPEG")
    assert child.render(file, PIXELS) == child.render(file, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_upright_by_its_exif_orientation(orientation: int, file_format: str) -> None:
    """The stored pixels are turned the other way round first, as a camera does."""
    camera = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.rotate(180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.rotate(90, expand=True).transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        6: lambda image: image.rotate(90, expand=True),
        7: lambda image: image.rotate(270, expand=True).transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        8: lambda image: image.rotate(270, expand=True),
    }
    scene = corners() if file_format != "JPEG" else corners().resize((96, 64), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(file_format, {})
    file = encoded(camera[orientation](scene), file_format, exif=exif, **options)
    upright = rendered(file)
    if file_format != "JPEG":
        assert difference(upright, scene) == 0
    assert upright.size == scene.size
    for corner in ((0, 0), (scene.width - 1, 0), (0, scene.height - 1)):
        close = [
            abs(a - b) < 60 for a, b in zip(upright.getpixel(corner), scene.getpixel(corner), strict=True)
        ]
        assert all(close)


def test_broken_exif_is_ignored() -> None:
    file = encoded(corners(), "PNG")
    at = file.index(b"IDAT") - 4
    assert rendered(file[:at] + chunk(b"eXIf", b"II*\0\xff\xff\xff\xff") + file[at:]).size == (6, 4)


def test_metadata_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    file = encoded(corners(), "JPEG", exif=exif, comment=b"a secret comment")
    clean = child.render(file, PIXELS)
    assert b"secret" in file
    assert b"secret" not in clean
    names = [clean[at : at + 4] for at in _chunks(clean)]
    assert set(names) == {b"IHDR", b"IDAT", b"IEND"}


def test_colours_are_converted_to_srgb_by_the_profile() -> None:
    file = encoded(Image.new("RGB", (4, 4), (255, 0, 0)), "PNG", icc_profile=swapped_profile())
    red, green, blue = rendered(file).getpixel((1, 1))  # type: ignore[misc]
    assert (red, green, blue) == pytest.approx((0, 0, 255), abs=3)


@pytest.mark.parametrize("profile", [b"", b"no profile at all", swapped_profile()[:200]])
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    file = encoded(Image.new("RGB", (4, 4), (200, 10, 60)), "PNG", icc_profile=profile)
    assert rendered(file).getpixel((1, 1)) == (200, 10, 60)


def test_a_profile_for_another_kind_of_picture_is_ignored() -> None:
    file = encoded(Image.new("L", (4, 4), 77), "PNG", icc_profile=swapped_profile())
    assert rendered(file).getpixel((1, 1)) == (77, 77, 77)


def test_transparency_is_laid_over_white_after_the_profile() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    clean = rendered(encoded(image, "PNG", icc_profile=swapped_profile()))
    assert clean.getpixel((0, 0)) == pytest.approx((0, 0, 255), abs=3)
    assert clean.getpixel((1, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("alpha", "expected"), [(255, (40, 80, 120)), (0, (255, 255, 255)), (128, (147, 167, 187))]
)
def test_alpha_mixes_with_white(alpha: int, expected: tuple[int, int, int]) -> None:
    image = Image.new("RGBA", (3, 3), (40, 80, 120, alpha))
    assert rendered(encoded(image, "PNG")).getpixel((1, 1)) == pytest.approx(expected, abs=1)
    assert rendered(encoded(image, "WEBP", lossless=True, exact=True)).getpixel((1, 1)) == pytest.approx(
        expected, abs=1
    )


def test_grey_with_alpha_a_palette_with_transparency_and_a_transparent_colour_are_laid_over_white() -> None:
    grey = Image.new("LA", (2, 2), (0, 128))
    assert rendered(encoded(grey, "PNG")).getpixel((0, 0)) == pytest.approx((127, 127, 127), abs=1)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((1, 0), 1)
    for file in (
        encoded(palette, "PNG", transparency=0),
        encoded(palette, "GIF", transparency=0),
        encoded(palette, "PNG", transparency=b"\x00\xff"),
    ):
        clean = rendered(file)
        assert clean.getpixel((0, 0)) == (255, 255, 255)
        assert clean.getpixel((1, 0)) == (200, 0, 0)
    keyed = encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert rendered(keyed).getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_and_one_bit_become_their_colours() -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    assert rendered(encoded(image, "PNG")).getpixel((0, 0)) == (200, 100, 50)
    assert rendered(encoded(Image.new("1", (2, 2), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 0), (256, 1), (0x8000, 0x80), (0xFFFF, 0xFF)])
def test_sixteen_bits_are_scaled_and_not_clipped(value: int, expected: int) -> None:
    grey = png(2, 1, 16, 0, b"\0" + value.to_bytes(2) * 2)
    assert rendered(grey).getpixel((0, 0)) == (expected,) * 3
    colour = png(2, 1, 16, 2, b"\0" + value.to_bytes(2) * 6)
    assert rendered(colour).getpixel((0, 0)) == (expected,) * 3


def test_sixteen_bits_with_a_transparent_colour_are_read() -> None:
    for kind, samples in ((0, 1), (2, 3)):
        key = chunk(b"tRNS", (0x8123).to_bytes(2) * samples)
        file = png(2, 1, 16, kind, b"\0" + (0x4000).to_bytes(2) * 2 * samples, key)
        assert rendered(file).getpixel((0, 0)) == (0x40,) * 3


def test_cmyk_is_read_as_adobe_writes_it_and_as_others_do() -> None:
    """Adobe's marker says that the inks are stored inverted; without it they are not."""
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    adobe = encoded(cyan, "JPEG", quality=95)
    assert b"Adobe" in adobe
    assert rendered(adobe).getpixel((5, 5)) == pytest.approx((0, 255, 255), abs=4)
    stored_inverted = encoded(ImageChops.invert(cyan), "JPEG", quality=95)
    plain = without_segment(stored_inverted, 0xEE)
    assert b"Adobe" not in plain
    assert rendered(plain).getpixel((5, 5)) == pytest.approx((0, 255, 255), abs=4)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for file_format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        file = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
        assert rendered(file).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 50_000), (50_000, 1)])
def test_a_picture_may_be_tiny_or_a_line(size: tuple[int, int]) -> None:
    assert rendered(encoded(Image.new("RGB", size, "red"), "PNG")).size == size


def test_the_name_of_a_file_and_what_follows_it_decide_nothing() -> None:
    polyglot = encoded(corners(), "GIF") + b"<script>alert(1)</script>PK\x03\x04"
    clean = child.render(polyglot, PIXELS)
    assert decoded(clean).size == (6, 4)
    assert b"script" not in clean


@pytest.mark.parametrize(
    "bomb",
    [png_bomb(10_000, 8_000), png_bomb(2**31 - 1, 2**31 - 1), gif_bomb(), webp_bomb()],
    ids=["png", "png-huge", "gif", "webp"],
)
def test_a_bomb_is_refused_by_its_header(bomb: bytes) -> None:
    assert fault(bomb)[0] in (child.TOO_LARGE, child.UNREADABLE)


def test_too_many_pixels_are_named_and_what_to_do_about_them() -> None:
    kind, detail = fault(png_bomb(10_000, 8_000))
    assert kind == child.TOO_LARGE
    assert detail == (
        "The picture has 80 000 000 pixels (10000 x 8000); at most 1 000 000 are allowed: scale it down."
    )


def test_a_frame_beyond_the_screen_counts() -> None:
    assert fault(gif_with_a_frame_beyond_its_screen())[0] in (child.TOO_LARGE, child.UNREADABLE)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_file_is_unreadable(file_format: str) -> None:
    whole = encoded(gradient(200, 150), file_format)
    for share in (0.3, 0.6, 0.9):
        assert fault(whole[: int(len(whole) * share)])[0] == child.UNREADABLE


@pytest.mark.parametrize(
    "text",
    [
        b"<!doctype html><html><body>Not found</body></html>",
        b"\xef\xbb\xbf\n  <svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<?xml version='1.0'?><svg/>",
    ],
)
def test_a_web_page_or_a_drawing_is_named_as_one(text: bytes) -> None:
    assert "web page or an SVG" in fault(text)[1]


def test_other_formats_and_text_are_unreadable_and_the_allowed_ones_named() -> None:
    for data in (b"just text", encoded(corners(), "TIFF"), encoded(corners(), "BMP"), b"%PDF-1.7", b"\0"):
        kind, detail = fault(data)
        assert kind == child.UNREADABLE
        assert "JPEG, PNG, WebP, GIF" in detail


def test_a_compressed_comment_that_explodes_is_refused() -> None:
    file = encoded(corners(), "PNG")
    at = file.index(b"IDAT") - 4
    bomb = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(80 * 2**20), 9))
    assert fault(file[:at] + bomb + file[at:])[0] == child.UNREADABLE


def test_a_mutated_file_gives_a_picture_or_a_typed_fault() -> None:
    """200 seeded mutations; anything but `Refused` would be a crash of the child."""
    choose = random.Random(20160627)
    outcomes = {"picture": 0, "fault": 0}
    valid = list(_valid())
    for _ in range(200):
        data = bytearray(choose.choice(valid))
        for _ in range(choose.randint(1, 4)):
            position = choose.randrange(len(data))
            match choose.randrange(4):
                case 0:
                    data[position] = choose.randrange(256)
                case 1:
                    data[position] ^= 1 << choose.randrange(8)
                case 2:
                    del data[position : position + choose.randint(1, 40)]
                case _:
                    data[position:position] = choose.randbytes(choose.randint(1, 40))
            if not data:
                break
        try:
            rendered(bytes(data))
            outcomes["picture"] += 1
        except child.Refused:
            outcomes["fault"] += 1
    assert min(outcomes.values()) > 20


def _valid() -> Iterator[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    yield encoded(gradient(), "PNG", icc_profile=swapped_profile(), exif=exif)
    yield encoded(gradient(), "JPEG", icc_profile=swapped_profile(), exif=exif)
    yield encoded(gradient().convert("CMYK"), "JPEG")
    yield encoded(gradient(), "JPEG", progressive=True)
    yield encoded(gradient(), "WEBP", exif=exif)
    yield encoded(gradient().convert("RGBA"), "WEBP", lossless=True)
    yield encoded(gradient().quantize(16), "PNG", transparency=3)
    yield encoded(gradient(), "GIF", save_all=True, append_images=[corners(48, 32)])


def _chunks(file: bytes) -> Iterator[int]:
    """Where the names of a PNG's chunks stand."""
    reader = io.BytesIO(file)
    reader.seek(8)
    while size := reader.read(4):
        yield reader.tell()
        reader.seek(int.from_bytes(size) + 8, io.SEEK_CUR)

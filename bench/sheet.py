"""Side-by-side sheets: a grid of pictures with a picture and a name before each row and above each column.

Used by `quality.py` and for the pages of `docs/`. Which pictures stand where is left to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, INK = (255, 255, 255), (40, 40, 40)
GAP = 6
"""Pixels between neighbours."""
JPEG_QUALITY = 88


@dataclass(frozen=True)
class Header:
    """What stands before a row or above a column: a name, and a picture (3, h, w) in [0, 1] unless None."""

    name: str
    image: Tensor | None = None


def sheet(
    rows: Sequence[Header],
    columns: Sequence[Header],
    cells: Sequence[Sequence[Tensor | None]],
    side: int = 256,
) -> Image.Image:
    """Draw a grid.

    Args:
        rows: one header a row, usually the contents.
        columns: one header a column, usually the styles.
        cells: `cells[row][column]`, (3, h, w) in [0, 1] of any size; None stays empty.
        side: the box that each picture is made to fit, in pixels.

    Raises:
        ValueError: there are not as many cells as headers ask for.
    """
    if len(cells) != len(rows) or any(len(row) != len(columns) for row in cells):
        raise ValueError(f"{len(rows)} rows of {len(columns)} cells are needed")
    lines = [[_labelled(None, "", side), *(_labelled(header.image, header.name, side) for header in columns)]]
    for header, row in zip(rows, cells, strict=True):
        painted = [_labelled(image, "", side) for image in row]
        lines.append([_labelled(header.image, header.name, side), *painted])
    heights = [max(block.height for block in line) for line in lines]
    width = (side + GAP) * (len(columns) + 1) + GAP
    page = Image.new("RGB", (width, sum(heights) + GAP * (len(heights) + 1)), PAPER)
    top = GAP
    for number, (line, height) in enumerate(zip(lines, heights, strict=True)):
        for column, block in enumerate(line):
            # The columns' names stand on one line, right above what they name.
            lowered = height - block.height if number == 0 else 0
            page.paste(block, (GAP + column * (side + GAP), top + lowered))
        top += height + GAP
    return page


def save(page: Image.Image, path: Path) -> None:
    """Write a sheet in the format of the path's ending; a JPEG small enough for a page of documentation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        page.save(path, quality=JPEG_QUALITY, optimize=True)
    else:
        page.save(path)


def _labelled(image: Tensor | None, name: str, side: int) -> Image.Image:
    """A picture that fits the box, its name beneath; as high as they need, 1 pixel where there is neither."""
    picture = _fitted(image, side) if image is not None else None
    height = picture.height if picture else 0
    font = ImageFont.load_default(max(10, side // 16))
    text = _shortened(name, font, side)
    line = font.getbbox("Ag")[3] + GAP if name else 0
    block = Image.new("RGB", (side, max(1, height + round(line))), PAPER)
    if picture:
        block.paste(picture, ((side - picture.width) // 2, 0))
    if name:
        ImageDraw.Draw(block).text((side / 2, height + GAP / 2), text, fill=INK, font=font, anchor="ma")
    return block


def _fitted(image: Tensor, side: int) -> Image.Image:
    pixels = image.detach().clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).cpu().numpy()
    picture = Image.fromarray(pixels)
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    return picture if scale == 1 else picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _shortened(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The name, cut at its end where it is too long for the box."""
    if font.getlength(name) <= width:
        return name
    while name and font.getlength(f"{name}…") > width:
        name = name[:-1]
    return f"{name}…"

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.sheet import GAP, PAPER, Header, save, sheet

RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def plain(colour: tuple[int, int, int], height: int = 20, width: int = 20) -> Tensor:
    return (torch.tensor(colour) / 255)[:, None, None].expand(3, height, width)


def colours_down(page: Image.Image, x: int) -> list[tuple[int, ...]]:
    """The plain colours met going down a column of pixels, each once."""
    line = [tuple(pixel) for pixel in np.array(page)[:, x].tolist()]
    wide = [colour for colour in line if line.count(colour) >= 8 and colour != PAPER]
    return list(dict.fromkeys(wide))


def test_each_picture_stands_in_its_row_and_column_under_its_headers() -> None:
    page = sheet(
        [Header("town", plain(RED)), Header("sea", plain(GREEN))],
        [Header("night", plain(BLUE)), Header("dots", plain(GREY))],
        [[plain((10, 0, 0)), plain((20, 0, 0))], [plain((30, 0, 0)), None]],
        side=40,
    )
    first, second, third = (GAP + 2 + column * (40 + GAP) for column in range(3))
    assert colours_down(page, first) == [RED, GREEN]
    assert colours_down(page, second) == [BLUE, (10, 0, 0), (30, 0, 0)]
    assert colours_down(page, third) == [GREY, (20, 0, 0)]


def test_pictures_keep_their_aspect() -> None:
    page = sheet([Header("a")], [Header("b")], [[plain(RED, height=20, width=80)]], side=40)
    reds = (np.array(page) == RED).all(axis=2)
    assert int(reds.any(axis=0).sum()) == 40
    assert int(reds.any(axis=1).sum()) == 10


def named(name: str) -> np.ndarray:
    """Where there is ink on a sheet whose second column has this name."""
    page = sheet([Header("")], [Header(name), Header("")], [[None, None]], side=60)
    return (np.array(page) != PAPER).any(axis=2)


def test_a_name_is_written_in_its_own_column() -> None:
    columns = named("night").any(axis=0)
    assert columns.any()
    assert columns.sum() == columns[GAP + 60 + GAP :][:60].sum()
    assert not named("").any()


def test_a_long_name_is_cut_at_its_end() -> None:
    name = "a name too long for sixty pixels"
    np.testing.assert_array_equal(named(name), named(f"{name}, and longer still"))
    assert (named(f"not {name}") != named(name)).any()


def test_a_sheet_with_too_few_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="cells"):
        sheet([Header("a")], [Header("b"), Header("c")], [[None]])


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.png"])
def test_a_sheet_is_saved_in_the_format_of_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new" / name
    save(sheet([Header("a")], [Header("b")], [[plain(RED)]]), path)
    with Image.open(path) as found:
        assert found.format == {".jpg": "JPEG", ".png": "PNG"}[path.suffix]

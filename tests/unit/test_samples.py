from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samples.canvas import SIZE_LIMIT, from_image, resize
from samples.draw import PICTURES, SIZE, main

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.parametrize("name", PICTURES)
def test_each_sample_is_a_small_jpeg_of_the_stated_size(name: str):
    path = SAMPLES / f"{name}.jpg"
    assert path.stat().st_size < 200_000
    with Image.open(path) as picture:
        picture.load()
        assert (picture.format, picture.mode, max(picture.size)) == ("JPEG", "RGB", SIZE)


@pytest.mark.parametrize("name", PICTURES)
def test_each_sample_uses_its_range_of_light_and_colour(name: str):
    with Image.open(SAMPLES / f"{name}.jpg") as picture:
        pixels = from_image(picture)
    dark, bright = np.percentile(pixels.mean(axis=-1), [2, 98])
    assert bright - dark > 0.5
    assert (pixels.max(axis=-1) - pixels.min(axis=-1)).mean() > 0.1


# The glass' leads have a least width in pixels: only at full size are they as committed. That takes a while.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "size"), [("style/stained_glass", 768), ("style/woodblock_waves", 240), ("content/town", 240)]
)
def test_a_redrawn_sample_is_the_committed_one(name: str, size: int):
    redrawn = PICTURES[name](size)
    height, width = redrawn.shape[:2]
    with Image.open(SAMPLES / f"{name}.jpg") as picture:
        committed = resize(from_image(picture), width, height)
    assert np.abs(redrawn - committed).mean() < 0.06
    assert np.corrcoef(redrawn.ravel(), committed.ravel())[0, 1] > 0.9


def test_drawing_twice_gives_the_same_file(tmp_path: Path):
    files = []
    for folder in ("first", "second"):
        main(["style/stained_glass", "--size", "96", "--out", str(tmp_path / folder)])
        files.append((tmp_path / folder / "style" / "stained_glass.jpg").read_bytes())
    assert files[0] == files[1]
    assert len(files[0]) <= SIZE_LIMIT

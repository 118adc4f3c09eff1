"""Picture files as tensors."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from worker.engine.files import decode, decode_grey


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_a_grey_picture_is_read_as_its_own_values_rows_first() -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4) * 23
    grey = decode_grey(png(Image.fromarray(values)))
    assert (grey.shape, grey.dtype) == ((3, 4), torch.float32)
    assert torch.allclose(grey, torch.from_numpy(values).float() / 255, atol=1e-6)
    assert float(grey.max()) <= 1


@pytest.mark.parametrize(
    ("colour", "luma"),
    [("white", 1), ("black", 0), ("red", 0.299), ("lime", 0.587), ("blue", 0.114)],
)
def test_a_colour_is_read_by_its_luma_of_rec_601(colour: str, luma: float) -> None:
    assert decode_grey(png(Image.new("RGB", (1, 1), colour))).item() == pytest.approx(luma, abs=1e-6)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white_as_in_a_clean_copy(mode: str) -> None:
    clear = Image.new(mode, (2, 2), (0,) * len(mode))
    assert float(decode_grey(png(clear)).min()) == pytest.approx(1)
    assert float(decode(png(clear)).min()) == 1


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    grey = decode_grey(png(Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], dtype=np.uint16))))
    assert grey.tolist()[0] == pytest.approx([0, 0x80 / 255, 1])

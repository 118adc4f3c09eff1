"""Colour control and the matting Laplacian on CUDA against the CPU."""

import pytest
import torch
from torch import Tensor

from worker.engine.color import keep_chroma, match_colors
from worker.engine.matting import MattingLaplacian

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def picture(seed: int) -> Tensor:
    return torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(seed))


def test_colours_are_the_same_on_both_devices() -> None:
    style, content = picture(0), picture(1)
    for function in (match_colors, keep_chroma):
        found = function(style.cuda(), content.cuda())
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), function(style, content), atol=1e-5, rtol=0)


def test_the_matting_laplacian_is_the_same_on_both_devices() -> None:
    content, x = picture(0), picture(1)
    energy, gradient = MattingLaplacian(content.cuda()).energy_and_gradient(x.cuda())
    expected_energy, expected_gradient = MattingLaplacian(content).energy_and_gradient(x)
    torch.testing.assert_close(energy.cpu(), expected_energy, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient.cpu(), expected_gradient, atol=1e-7, rtol=1e-4)

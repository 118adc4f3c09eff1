"""Sums of features: against sums written out, and their gradient against automatic differentiation."""

import pytest
import torch
from torch import Tensor

from worker.engine import moments
from worker.engine.moments import Moments


def features(batch: int = 2, channels: int = 5, height: int = 6, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(batch, channels, height, width, generator=generator).relu()
    return values.contiguous(memory_format=torch.channels_last)


def guidance(regions: int = 3, batch: int = 2, height: int = 6, width: int = 7) -> Tensor:
    return torch.rand(batch, regions, height, width, generator=torch.Generator().manual_seed(2))


def written_out(f: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Position by position, in plain loops."""
    batch, channels, height, width = f.shape
    second = torch.zeros(batch, weights.shape[1], channels, channels)
    first = torch.zeros(batch, weights.shape[1], channels)
    for b in range(batch):
        for r in range(weights.shape[1]):
            for row in range(height):
                for column in range(width):
                    at, t = f[b, :, row, column], weights[b, r, row, column]
                    second[b, r] += t * at[:, None] * at[None]
                    first[b, r] += t * at
    return second, first


@pytest.mark.parametrize("guided", [False, True])
def test_sums_are_those_of_plain_loops(guided: bool) -> None:
    f, weights = features(), guidance() if guided else None
    found = moments.sums(f, weights, with_first=True)
    second, first = written_out(f, torch.ones(2, 1, 6, 7) if weights is None else weights)
    torch.testing.assert_close(found.second, second)
    torch.testing.assert_close(found.first, first)


def test_first_moments_are_left_out_unless_asked_for() -> None:
    assert moments.sums(features(), None, with_first=False).first is None


def test_summed_in_chunks_they_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    f, weights = features(), guidance()
    whole = moments.sums(f, weights, with_first=True)
    monkeypatch.setattr(moments, "CHUNK", 2 * 5 * 7 * 4)
    parts = moments.sums(f, weights, with_first=True)
    torch.testing.assert_close(parts.second, whole.second)
    torch.testing.assert_close(parts.first, whole.first)


def test_the_sums_of_a_picture_are_those_of_its_parts() -> None:
    f, weights = features(), guidance()
    parts = [
        moments.sums(f[:, :, rows], weights[:, :, rows], with_first=True)
        for rows in (slice(0, 2), slice(2, None))
    ]
    whole = moments.sums(f, weights, with_first=True)
    torch.testing.assert_close((parts[0] + parts[1]).second, whole.second)
    torch.testing.assert_close((parts[0] + parts[1]).first, whole.first)


def test_sums_of_bfloat16_features_are_float32() -> None:
    f = features(channels=8, height=40, width=40).bfloat16()
    found = moments.sums(f, None, with_first=True)
    expected = moments.sums(f.float(), None, with_first=True)
    assert found.second.dtype is torch.float32
    torch.testing.assert_close(found.second, expected.second)
    torch.testing.assert_close(found.first, expected.first)


def test_scaled_moments_are_the_moments_of_scaled_features() -> None:
    f, scale = features(), torch.tensor([0.5, 1, 2, 3, 0])
    found = moments.sums(f, None, with_first=True).scaled(scale)
    expected = moments.sums(f * scale.view(-1, 1, 1), None, with_first=True)
    torch.testing.assert_close(found.second, expected.second)
    torch.testing.assert_close(found.first, expected.first)


def test_over_divides_each_region_by_its_own_weight() -> None:
    f, weights = features(), guidance()
    whole = weights.sum(dim=(-2, -1))
    found = moments.sums(f, weights, with_first=True).over(whole)
    second, first = written_out(f, weights / whole[..., None, None])
    torch.testing.assert_close(found.second, second)
    torch.testing.assert_close(found.first, first)


def test_times_multiplies_both() -> None:
    one = Moments(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2)).times(3)
    assert float(one.second.sum()) == 12
    assert one.first is not None
    assert float(one.first.sum()) == 6


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("with_first", [False, True])
def test_the_pull_on_features_is_the_gradient_that_autograd_finds(guided: bool, with_first: bool) -> None:
    f, weights = features(), guidance() if guided else None
    regions = 3 if guided else 1
    generator = torch.Generator().manual_seed(5)
    by_second = torch.randn(2, regions, 5, 5, generator=generator)
    by_second = by_second + by_second.mT
    by_first = torch.randn(2, regions, 5, generator=generator) if with_first else None
    leaf = f.clone().requires_grad_()
    t = torch.ones(2, 1, 6, 7) if weights is None else weights
    value = (torch.einsum("brhw,bnhw,bmhw->brnm", t, leaf, leaf) * by_second).sum()
    if by_first is not None:
        value = value + (torch.einsum("brhw,bnhw->brn", t, leaf) * by_first).sum()
    (expected,) = torch.autograd.grad(value, leaf)
    found = moments.pull_back(f, weights, by_second, by_first)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    half = moments.pull_back(f.bfloat16(), weights, by_second, by_first)
    assert half.dtype is torch.bfloat16
    assert float((half - expected).norm() / expected.norm()) < 0.02

"""Extreme requests: they never crash, never paint values that are not numbers, and never paint black."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from tests.unit.engine.conftest import waves
from worker.engine import Engine, Outcome, Style

MakeSpec = Callable[..., Spec]
WEIGHTINGS = pytest.mark.parametrize("weighting", ["normalized", "paper"])
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])

GREY = waves(48, 64, 0.15).mean(dim=0, keepdim=True).expand(3, -1, -1).clone()
FLAT = torch.full((3, 40, 50), 0.4)


@pytest.fixture(scope="module")
def shipped() -> Engine:
    """On the shipped weights and in the arithmetic of this machine, as a worker has it."""
    return Engine(device="cpu")


@pytest.fixture
def paint(shipped: Engine, make_spec: MakeSpec) -> Callable[..., Outcome]:
    def make(content: Tensor, style: Tensor, **fields: Any) -> Outcome:
        losses: list[float] = []
        spec = make_spec(**{"steps": 12, **fields})
        outcome = shipped.stylize(content, [Style(style)], spec, lambda p: losses.append(p.losses["total"]))
        assert bool(torch.isfinite(outcome.image).all())
        assert 0 <= float(outcome.image.min()) <= float(outcome.image.max()) <= 1
        assert float(outcome.image.max()) > 0.05
        assert outcome.losses["total"] <= losses[0]
        return outcome

    return make


@WEIGHTINGS
@OPTIMIZERS
@pytest.mark.parametrize("weights", [(0, 200), (1, 0), (0, 0), (1e9, 1e12), (1e-9, 1e-9)])
def test_weights(
    paint: Callable[..., Outcome], weighting: str, optimizer: str, weights: tuple[float, float]
) -> None:
    content, style = weights
    fields = {"content_weight": content, "style_weight": style, "tv_weight": 0}
    outcome = paint(
        waves(48, 64, 0.15), waves(56, 56, 0.9), weighting=weighting, optimizer=optimizer, **fields
    )
    if style == 0:
        # Nothing pulls away from the content.
        torch.testing.assert_close(outcome.image, waves(48, 64, 0.15), rtol=0, atol=0.02)


@WEIGHTINGS
@OPTIMIZERS
@pytest.mark.parametrize("ratio", [1e-9, 1e6])
def test_ratios(paint: Callable[..., Outcome], weighting: str, optimizer: str, ratio: float) -> None:
    paint(waves(48, 64, 0.15), waves(56, 56, 0.9), weighting=weighting, optimizer=optimizer, alpha_beta=ratio)


@WEIGHTINGS
@OPTIMIZERS
@pytest.mark.parametrize("style_loss", ["gram", "moments"])
def test_one_colour_for_content_or_style_or_both(
    paint: Callable[..., Outcome], weighting: str, optimizer: str, style_loss: str
) -> None:
    fields = {"weighting": weighting, "optimizer": optimizer, "style_loss": style_loss}
    for content, style in (
        (FLAT, waves(56, 56, 0.9)),
        (waves(48, 64, 0.15), FLAT),
        (FLAT, FLAT),
        (FLAT, 1 - FLAT),
    ):
        paint(content, style, **fields)


@WEIGHTINGS
def test_a_flat_content_is_painted_to_the_end(paint: Callable[..., Outcome], weighting: str) -> None:
    # A first estimate of curvature from nearly nothing used to send it off without return.
    generator = torch.Generator().manual_seed(1)
    nearly = 0.5 + 0.02 * torch.randn(3, 64, 64, generator=generator)
    for scale in (0.5, 1.0):
        outcome = paint(
            nearly, waves(96, 96, 0.6), weighting=weighting, steps=40, content_weight=0.01, style_scale=scale
        )
        assert outcome.losses["style"] < 0.5


@WEIGHTINGS
@OPTIMIZERS
@pytest.mark.parametrize("color", ["style", "content", "match"])
def test_grey_pictures(paint: Callable[..., Outcome], weighting: str, optimizer: str, color: str) -> None:
    for content, style in ((GREY, waves(56, 56, 0.9)), (waves(48, 64, 0.15), GREY), (GREY, GREY)):
        paint(content, style, weighting=weighting, optimizer=optimizer, color=color, steps=5)


@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_black_and_white_styles(paint: Callable[..., Outcome], shade: float) -> None:
    paint(waves(48, 64, 0.15), torch.full((3, 32, 32), shade))


@WEIGHTINGS
@OPTIMIZERS
def test_sixteen_pixels(paint: Callable[..., Outcome], weighting: str, optimizer: str) -> None:
    outcome = paint(
        waves(48, 64, 0.15), waves(56, 56, 0.9), weighting=weighting, optimizer=optimizer, size=16
    )
    assert outcome.image.shape == (3, 12, 16)


@WEIGHTINGS
@OPTIMIZERS
@pytest.mark.parametrize("shape", [(16, 128), (128, 16)])
def test_one_to_eight(
    paint: Callable[..., Outcome], weighting: str, optimizer: str, shape: tuple[int, int]
) -> None:
    outcome = paint(
        waves(*shape, 0.15), waves(56, 56, 0.9), weighting=weighting, optimizer=optimizer, size=128, pyramid=1
    )
    assert outcome.image.shape == (3, *shape)


@WEIGHTINGS
@pytest.mark.parametrize("side", [1, 8, 1024])
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_styles_much_smaller_and_larger(
    paint: Callable[..., Outcome], weighting: str, side: int, scale: float
) -> None:
    style = 0.2 + 0.6 * torch.rand(3, side, side, generator=torch.Generator().manual_seed(1))
    paint(waves(48, 64, 0.15), style, weighting=weighting, style_scale=scale, steps=5)


def test_a_style_looked_at_eight_times_as_large(paint: Callable[..., Outcome]) -> None:
    paint(waves(48, 64, 0.15), waves(20, 20, 0.9), style_scale=8, size=32, steps=3)


@pytest.mark.parametrize(("optimizer", "weight"), [("lbfgs", 1e9), ("adam", 1e5)])
def test_photorealism_on_flat_grey_and_narrow_pictures(
    paint: Callable[..., Outcome], optimizer: str, weight: float
) -> None:
    for content in (FLAT, GREY, waves(2, 64, 0.3)):
        paint(content, waves(56, 56, 0.9), photorealism=weight, optimizer=optimizer, steps=5)


@pytest.mark.parametrize(
    "fields",
    [
        {"photorealism": 1e6},
        {"photorealism": 1e9},
        {"photorealism": 1e9, "content_weight": 0},
        {"tv_weight": 1e6},
    ],
    ids=str,
)
def test_a_flat_content_that_nothing_may_change_stays(
    shipped: Engine, make_spec: MakeSpec, fields: dict[str, float]
) -> None:
    flat = torch.full((3, 20, 20), 0.3)
    spec = make_spec(size=64, steps=40, style_weight=0, **fields)
    painted = shipped.stylize(flat, [Style(waves(56, 56, 0.9))], spec).image
    torch.testing.assert_close(painted, torch.full((3, 64, 64), 0.3), rtol=0, atol=2e-3)


def test_a_style_mask_that_leaves_next_to_nothing(shipped: Engine, make_spec: MakeSpec) -> None:
    mask = torch.zeros(200, 200)
    mask[0, 0] = 1e-3
    styles = [Style(waves(56, 56, 0.9), mask=mask), Style(waves(30, 30, 0.4), region=mask)]
    outcome = shipped.stylize(waves(48, 64, 0.15), styles, make_spec(steps=6))
    assert bool(torch.isfinite(outcome.image).all())
    assert float(outcome.image.max()) > 0.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@OPTIMIZERS
def test_the_same_request_paints_the_same_bytes(make_spec: MakeSpec, dtype: str, optimizer: str) -> None:
    if dtype == "bfloat16" and Engine(device="cpu").dtype != dtype:
        pytest.skip("this processor has no bfloat16")
    spec = make_spec(size=80, steps=10, pyramid=2, init="noise", seed=5, optimizer=optimizer)
    first, second = (
        Engine(device="cpu", dtype=dtype).stylize(waves(48, 64, 0.15), [Style(waves(56, 56, 0.9))], spec)
        for _ in range(2)
    )
    assert first.dtype == dtype
    assert torch.equal(first.image, second.image)

"""Every control does what it says, measured on the painted picture."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from shared.backbones import BACKBONES, GATYS_STYLE
from shared.spec import PRESETS, Spec, resolve
from tests.unit.engine.conftest import waves
from worker.engine import Engine, Outcome, Style, images
from worker.engine.matting import MattingLaplacian
from worker.engine.moments import Moments
from worker.engine.view import View

Paint = Callable[..., Outcome]
SIZE = (64, 64)


@pytest.fixture(scope="module")
def shipped() -> Engine:
    return Engine(device="cpu", dtype="float32")


@pytest.fixture
def content() -> Tensor:
    """Forms with edges in muted colours."""
    return 0.25 + 0.5 * waves(64, 64, 0.15)


def stripes(period: float, size: int = 96, *, colour: tuple[float, float, float] = (1, 0.5, 0.1)) -> Tensor:
    """Slanted stripes of a period in pixels, dark and coloured."""
    at = torch.arange(size)
    wave = (2 * torch.pi * (at[:, None] + 2 * at[None]) / (period * 5**0.5)).sin().mul(3).clamp(-1, 1)
    return (0.5 + 0.5 * wave) * torch.tensor(colour).view(3, 1, 1)


def dots(size: int = 96) -> Tensor:
    """Blue and white dots on a grid."""
    at = (torch.arange(size) % 12 - 5.5).square()
    inside = (at[:, None] + at[None] < 12).float()
    return torch.stack((inside, inside, 0.4 + 0.6 * inside))


@pytest.fixture
def paint(shipped: Engine, make_spec: Callable[..., Spec], content: Tensor) -> Paint:
    def make(*styles: Style, shown: Tensor = content, begin: Tensor | None = None, **fields: Any) -> Outcome:
        spec = make_spec(**{"steps": 40, "tv_weight": 1, **fields})
        return shipped.stylize(shown, styles or [Style(stripes(8))], spec, init=begin)

    return make


def moments_of(engine: Engine, picture: Tensor, mask: Tensor | None = None) -> dict[str, Moments]:
    features = engine.features("compact")
    view = View(features, (), tuple(GATYS_STYLE), with_means=True)
    guidance = None if mask is None else view.guide(mask[None, None])
    scales = features.scales(view.layers, "layer")
    return {n: found.scaled(scales[n]) for n, found in view.style(picture[None], guidance).items()}


def gram_distance(engine: Engine, picture: Tensor, style: Tensor, mask: Tensor | None = None) -> float:
    """The normalised style loss over the default layers, of the picture or of a part of it."""
    found, goal = moments_of(engine, picture, mask), moments_of(engine, style)
    return sum(
        float((found[n].second - goal[n].second).square().sum() / goal[n].second.square().sum()) for n in goal
    )


def luminance(image: Tensor) -> Tensor:
    return (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=0)


def centroid(image: Tensor) -> float:
    """The mean spatial frequency of the luminance, by its power, in cycles a pixel."""
    grey = luminance(image)
    power = torch.fft.rfft2(grey - grey.mean()).abs().square()
    rows, columns = torch.fft.fftfreq(grey.shape[0]), torch.fft.rfftfreq(grey.shape[1])
    frequency = (rows[:, None].square() + columns[None].square()).sqrt()
    return float((frequency * power).sum() / power.sum())


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])


@pytest.mark.parametrize("weighting", ["normalized", "paper"])
def test_alpha_beta_trades_style_for_content(paint: Paint, weighting: str) -> None:
    found = [paint(alpha_beta=ratio, weighting=weighting).losses for ratio in (1e-3, 1e-2, 1e-1, 1)]
    assert all(more["content"] < less["content"] for less, more in pairwise(found))
    assert all(more["style"] > less["style"] for less, more in pairwise(found))


def test_alpha_beta_takes_the_place_of_both_weights(paint: Paint) -> None:
    usual = paint(alpha_beta=1e-2, steps=3).image
    assert torch.equal(paint(alpha_beta=1e-2, content_weight=0, style_weight=7, steps=3).image, usual)
    # By the documented conversion the default style weight is the ratio 1e-3.
    torch.testing.assert_close(paint(alpha_beta=1e-3, steps=3).image, paint(steps=3).image)


def test_moments_match_mean_and_covariance_better_than_gram_does(shipped: Engine, paint: Paint) -> None:
    style = stripes(8)
    goal = moments_of(shipped, images.resize(style, SIZE))

    def distance(picture: Tensor) -> float:
        found, total = moments_of(shipped, picture), 0.0
        for name, one in found.items():
            assert one.first is not None
            assert goal[name].first is not None
            pairs = []
            for moments in (one, goal[name]):
                assert moments.first is not None
                mean = moments.first[0, 0]
                pairs.append((moments.second[0, 0] - mean.outer(mean), mean))
            for mine, wanted in zip(*pairs, strict=True):
                total += float((mine - wanted).square().sum() / wanted.square().sum())
        return total

    fields = {"content_weight": 0.01, "steps": 50}
    matched = paint(Style(style), style_loss="moments", **fields).image
    assert distance(matched) < 0.8 * distance(paint(Style(style), style_loss="gram", **fields).image)


def test_a_larger_style_scale_gives_larger_strokes(paint: Paint) -> None:
    flat = torch.full((3, 64, 64), 0.5) + 0.02 * torch.randn(
        3, 64, 64, generator=torch.Generator().manual_seed(1)
    )
    found = [
        centroid(paint(Style(stripes(10)), shown=flat, content_weight=0.01, style_scale=scale).image)
        for scale in (0.5, 1.0, 2.0)
    ]
    assert found[0] > 1.2 * found[1] > 1.44 * found[2]


def test_color_content_keeps_the_content_s_chroma_and_takes_the_painted_luminance(
    paint: Paint, content: Tensor
) -> None:
    plain = paint(color="style", steps=20).image
    kept = paint(color="content", steps=20).image
    torch.testing.assert_close(luminance(kept), luminance(plain), rtol=0, atol=2e-3)
    chroma, wanted = (image - luminance(image) for image in (kept, content))
    # Where a chroma does not fit at its luminance it is scaled down, never turned.
    assert correlation(chroma, wanted) > 0.9
    assert correlation(plain - luminance(plain), wanted) < 0.7


def test_color_match_paints_in_the_content_s_colours(paint: Paint) -> None:
    blue = 0.2 + 0.6 * waves(64, 64, 0.15) * torch.tensor([0.2, 0.4, 1.0]).view(3, 1, 1)

    def off(image: Tensor) -> float:
        return float((image.mean(dim=(1, 2)) - blue.mean(dim=(1, 2))).norm())

    plain, matched = (paint(shown=blue, color=color).image for color in ("style", "match"))
    assert off(matched) < 0.3 * off(plain)


def test_color_match_takes_masks_and_regions_of_any_size(paint: Paint) -> None:
    mask, region = torch.ones(20, 31), torch.ones(7, 90)
    masked = paint(Style(stripes(8), mask=mask, region=region), color="match", steps=4).image
    assert torch.allclose(masked, paint(color="match", steps=4).image, atol=1e-2)


def test_color_match_is_robust_to_grey_and_flat_pictures(paint: Paint, content: Tensor) -> None:
    grey = luminance(content).expand(3, -1, -1).clone()
    flat = torch.full((3, 32, 32), 0.4)
    for shown, style in ((grey, stripes(8)), (content, grey), (flat, stripes(8)), (content, flat)):
        image = paint(Style(style), shown=shown, color="match", steps=4).image
        assert bool(torch.isfinite(image).all())
        assert float(image.max()) > 0.1


def test_photorealism_keeps_changes_affine_in_the_content_s_colours(paint: Paint, content: Tensor) -> None:
    laplacian = MattingLaplacian(content)
    energies = [
        float(laplacian.energy_and_gradient(paint(photorealism=weight).image)[0]) for weight in (0, 100, 1e4)
    ]
    assert energies[1] < 0.5 * energies[0]
    assert energies[2] < 0.5 * energies[1]


def test_each_region_takes_its_own_style(shipped: Engine, paint: Paint) -> None:
    left = torch.zeros(64, 64)
    left[:, :32] = 1
    one, other = stripes(8), dots()
    image = paint(Style(one, region=left), Style(other, region=1 - left), steps=60, content_weight=0.2).image
    # A region of another size means the same.
    small = images.resize_mask(left, (10, 10))
    again = paint(Style(one, region=small), Style(other, region=1 - small), steps=2)
    assert again.losses["total"] > 0
    inner = torch.zeros(64, 64)
    inner[:, 4:28] = 1
    goals = [images.resize(style, SIZE) for style in (one, other)]
    for mask, mine, theirs in ((inner, 0, 1), (inner.flip(-1), 1, 0)):
        near, far = (gram_distance(shipped, image, goals[which], mask) for which in (mine, theirs))
        assert near < 0.5 * far


def test_outside_all_regions_the_content_stays(paint: Paint, content: Tensor) -> None:
    left = torch.zeros(64, 64)
    left[:, :32] = 1
    change = (paint(Style(dots(), region=left), steps=30).image - content).abs().mean(dim=(0, 1))
    # The deepest layers see far, so that only the far end is untouched by them.
    assert float(change[48:].mean()) < 0.4 * float(change[:32].mean())


def test_outside_all_regions_the_content_stays_sharp(paint: Paint) -> None:
    # Given a content of fine stripes, the defaults, and a style for its left quarter
    fine = stripes(5, 192, colour=(0.8, 0.8, 0.8))
    left = torch.zeros(64, 64)
    left[:, :16] = 1
    style = Style(dots(), region=left)
    painted = paint(style, shown=fine, size=192, steps=60, pyramid=0, tv_weight=None).image
    assert float((painted - fine)[:, :, 128:].abs().mean()) < 0.02


def test_a_region_that_is_everything_is_none(paint: Paint) -> None:
    everywhere = torch.ones(5, 7)
    plain = paint(Style(dots()), Style(stripes(8)), steps=8)
    for first, second in ((None, everywhere), (everywhere, torch.ones(3, 3))):
        found = paint(Style(dots(), region=first), Style(stripes(8), region=second), steps=8)
        assert torch.equal(found.image, plain.image)


def test_how_faint_a_mask_is_as_a_whole_does_not_count(paint: Paint) -> None:
    mask = torch.zeros(400, 400)
    mask[100:103, 200:203] = 1
    clear, faint = (paint(Style(dots(), mask=mask * part), steps=8).image for part in (1, 1e-3))
    torch.testing.assert_close(clear, faint, rtol=0, atol=2e-3)


def test_without_style_the_content_is_painted_as_it_is(paint: Paint, content: Tensor) -> None:
    large = images.resize(content, (200, 200))
    painted = paint(shown=large, size=200, steps=30, pyramid=0, style_weight=0, tv_weight=0).image
    torch.testing.assert_close(painted, large, rtol=0, atol=2e-3)


def test_of_a_masked_style_only_the_part_counts(shipped: Engine, paint: Paint) -> None:
    # Given a style picture of which the left half is stripes and the right half dots
    both = torch.cat((stripes(8), dots()), dim=2)
    left = torch.zeros(96, 192)
    left[:, :96] = 1
    halves = [
        images.resize(both, images.size_for(both, 64))[:, :, part] for part in (slice(32), slice(32, 64))
    ]
    for mask, mine, other in ((left, 0, 1), (1 - left, 1, 0)):
        image = paint(
            Style(both, mask=mask), content_weight=0.05, style_layers={"conv1_1": 1, "conv2_1": 1}
        ).image
        assert gram_distance(shipped, image, halves[mine]) < gram_distance(shipped, image, halves[other])


def test_styles_share_a_region_by_their_weights(shipped: Engine, paint: Paint) -> None:
    one, other = stripes(8), dots()
    distances = []
    for weight in (0.1, 1, 10):
        image = paint(Style(one, weight), Style(other), content_weight=0.05).image
        distances.append(gram_distance(shipped, image, images.resize(one, SIZE)))
    assert distances[0] > distances[1] > distances[2]


@pytest.mark.parametrize("start", ["content", "style", "noise", "picture"])
def test_the_first_picture_is_the_one_asked_for(paint: Paint, content: Tensor, start: str) -> None:
    style, picture = stripes(8), dots(64)
    wanted = {
        "content": content,
        "style": images.cover(style, SIZE),
        "noise": images.white_noise(SIZE, 3),
        "picture": picture,
    }[start]
    # After one evaluation the best picture met is the one it began with.
    given = picture if start == "picture" else None
    outcome = paint(Style(style), begin=given, init=start, seed=3, steps=1)
    torch.testing.assert_close(outcome.image, wanted)


def test_a_seed_changes_noise_and_nothing_else(paint: Paint) -> None:
    noise = [paint(init="noise", seed=seed, steps=2).image for seed in (1, 1, 2)]
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[2])
    one, other = (paint(init="content", seed=seed, steps=2).image for seed in (1, 2))
    assert torch.equal(one, other)


def test_max_pooling_paints_another_picture(paint: Paint) -> None:
    average, largest = (paint(pooling=pooling, steps=10).image for pooling in ("avg", "max"))
    assert float((average - largest).abs().mean()) > 0.005


def test_a_shallow_content_layer_keeps_more_detail_than_a_deep_one(paint: Paint, content: Tensor) -> None:
    def edges(image: Tensor) -> Tensor:
        return luminance(image).diff(dim=1)

    kept = [
        correlation(
            edges(paint(content_layers={layer: 1.0}, style_weight=0.3, init="noise").image), edges(content)
        )
        for layer in ("conv2_2", "conv4_2")
    ]
    assert kept[0] > 1.5 * kept[1]


def test_style_layers_choose_the_scale_of_forms(shipped: Engine, paint: Paint) -> None:
    style = images.resize(stripes(8), SIZE)
    goal = moments_of(shipped, style)
    distances: dict[str, dict[str, float]] = {}
    for layer in ("conv1_1", "conv4_1"):
        image = paint(
            Style(stripes(8)), style_layers={layer: 1.0}, content_weight=0.1, style_loss="gram"
        ).image
        found = moments_of(shipped, image)
        distances[layer] = {
            n: float((found[n].second - goal[n].second).square().sum() / goal[n].second.square().sum())
            for n in ("conv1_1", "conv4_1")
        }
    # Each layer alone is matched better, compared with the other, when it is the one that counts.
    fine, coarse = (found["conv1_1"] / found["conv4_1"] for found in distances.values())
    assert fine < 0.6 * coarse
    assert distances["conv4_1"]["conv4_1"] < 0.6 * distances["conv1_1"]["conv4_1"]


def test_a_layer_of_no_weight_counts_as_if_it_were_not_named(paint: Paint) -> None:
    named = paint(style_layers={"conv1_1": 1.0, "conv3_1": 0.0}, steps=5).image
    assert torch.equal(named, paint(style_layers={"conv1_1": 1.0}, steps=5).image)


def test_more_total_variation_weight_makes_smoother_pictures(paint: Paint) -> None:
    found = [paint(tv_weight=weight).losses["tv"] for weight in (0, 30, 3000)]
    assert found[0] > found[1] > found[2]


def test_adam_paints_as_well(paint: Paint) -> None:
    found = {name: paint(optimizer=name, steps=40).losses["total"] for name in ("lbfgs", "adam")}
    start = paint(steps=1).losses["total"]
    assert found["adam"] < 0.3 * start
    assert found["lbfgs"] < found["adam"]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_paints(shipped: Engine, content: Tensor, preset: str) -> None:
    spec: Spec = resolve({"preset": preset, "size": 64, "steps": 6}, BACKBONES["compact"])
    losses: list[float] = []
    outcome = shipped.stylize(content, [Style(stripes(8))], spec, lambda p: losses.append(p.losses["total"]))
    assert losses[-1] < losses[0]
    assert bool(torch.isfinite(outcome.image).all())

"""The objective's gradient against automatic differentiation of the same objective, written plainly."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from tests.unit.engine.conftest import waves
from worker.engine import backbones, images, losses
from worker.engine.contract import Request, Style
from worker.engine.features import Features
from worker.engine.matting import MattingLaplacian
from worker.engine.objective import TERMS, Objective
from worker.engine.vgg import VGG

MakeSpec = Callable[..., Spec]
MakeObjective = Callable[..., Objective]
SIZE = (48, 64)


@pytest.fixture(scope="module")
def vgg(weights_dir: Path) -> VGG:
    return backbones.load("compact", weights_dir)


def taps(vgg: VGG, features: Features, x: Tensor, layers: list[str], spec: Spec) -> dict[str, Tensor]:
    """Calibrated features (N, M) of one picture by layer."""
    kind = "filter" if spec.weighting == "paper" else "layer"
    found = vgg(x[None], [name.replace("conv", "relu") for name in layers])
    scales = features.scales(layers, kind)
    return {n: found[n.replace("conv", "relu")][0].flatten(1) * scales[n][:, None] for n in layers}


def plain_total(vgg: VGG, features: Features, x: Tensor, request: Request) -> Tensor:
    """alpha content + beta style + tv TV of one picture with one style, by the page's formulas."""
    spec = request.spec
    content, styles = spec.content_layers or {}, spec.style_layers or {}
    F = taps(vgg, features, x, [*content, *styles], spec)
    P = taps(vgg, features, images.resize(request.content, SIZE), list(content), spec)
    style = request.styles[0].image
    S = taps(vgg, features, images.resize(style, images.size_for(style, max(SIZE))), list(styles), spec)
    paper = spec.weighting == "paper"
    total = x.new_zeros(())
    for layer, weight in content.items():
        distance = (F[layer] - P[layer]).square().sum()
        term = distance / 2 if paper else distance / P[layer].square().sum()
        total = total + spec.content_weight * weight * term
    for layer, weight in styles.items():
        f, s = F[layer], S[layer]
        if spec.style_loss == "moments":
            pairs = [(torch.cov(f, correction=0), torch.cov(s, correction=0)), (f.mean(1), s.mean(1))]
            scale = [1 / (4 * len(f) ** 2), 1 / len(f)]
            share = 0.5
        else:
            pairs, scale, share = [(f @ f.T / f.shape[1], s @ s.T / s.shape[1])], [1 / (4 * len(f) ** 2)], 1
        for (g, a), k in zip(pairs, scale, strict=True):
            energy = a.square().sum().clamp_min(losses.LEAST_ENERGY * a.numel())
            term = (g - a).square().sum() * (k if paper else 1 / energy)
            total = total + spec.style_weight * weight * share * term
    variation = x.diff(dim=1).square().mean() + x.diff(dim=2).square().mean()
    total = total + spec.tv_weight * variation
    if spec.photorealism:
        energy, _ = MattingLaplacian(images.resize(request.content, SIZE)).energy_and_gradient(x.detach())
        total = total + spec.photorealism * energy
    return total


@pytest.mark.parametrize("weighting", ["normalized", "paper"])
@pytest.mark.parametrize("style_loss", ["gram", "moments"])
def test_the_total_and_its_gradient_are_those_of_the_formulas(
    vgg: VGG,
    features: Features,
    objective_of: MakeObjective,
    make_spec: MakeSpec,
    weighting: str,
    style_loss: str,
) -> None:
    layers = {"content_layers": {"conv4_2": 1.0, "conv3_1": 0.5}}
    spec = make_spec(weighting=weighting, style_loss=style_loss, style_weight=15, tv_weight=60, **layers)
    request = Request(waves(48, 64, 0.15), [Style(waves(56, 56, 0.9))], spec)
    x = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    found = objective_of([request], SIZE)(x[None])
    leaf = x.clone().requires_grad_()
    expected = plain_total(vgg, features, leaf, request)
    expected.backward()
    assert float(found.terms[0, 0]) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert leaf.grad is not None
    assert float((found.gradient[0] - leaf.grad).norm() / leaf.grad.norm()) < 1e-4


def test_the_total_is_the_terms_by_their_weights(objective_of: MakeObjective, make_spec: MakeSpec) -> None:
    spec = make_spec(content_weight=2, style_weight=30, tv_weight=4, photorealism=5)
    request = Request(waves(48, 64, 0.15), [Style(waves(56, 56, 0.9))], spec)
    x = torch.rand(1, 3, *SIZE)
    terms = dict(zip(TERMS, objective_of([request], SIZE)(x).terms[0].tolist(), strict=True))
    weights = {"content": 2, "style": 30, "tv": 4, "photorealism": 5}
    assert terms["total"] == pytest.approx(sum(terms[n] * w for n, w in weights.items()), rel=1e-5)
    assert all(value > 0 for value in terms.values())


@pytest.mark.parametrize("kind", ["regions", "moments", "photorealism", "narrow"])
def test_the_gradient_foretells_how_the_total_changes(
    objective_of: MakeObjective, make_spec: MakeSpec, kind: str
) -> None:
    size = (11, 64) if kind == "narrow" else SIZE
    spec = make_spec(
        style_loss="moments" if kind == "moments" else "gram",
        photorealism=1e3 if kind == "photorealism" else 0,
    )
    left = torch.zeros(10, 20)
    left[:, :8] = 1
    styles = [Style(waves(56, 56, 0.9))]
    if kind == "regions":
        other = waves(40, 40, 0.4).flip(0)
        styles = [Style(waves(56, 56, 0.9), region=left), Style(other, region=1 - left)]
    objective = objective_of([Request(waves(*size, 0.15), styles, spec)], size)
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(1, 3, *size, generator=generator)
    here = objective(x)
    # Along the gradient the change is largest, so that float32 can tell it.
    step = 1e-3 * here.gradient / here.gradient.norm()
    change = (objective(x + step).terms - objective(x - step).terms)[0, 0]
    assert float(change) == pytest.approx(2 * float((step * here.gradient).sum()), rel=0.02)


def test_each_picture_of_a_batch_is_compared_with_its_own(
    objective_of: MakeObjective, make_spec: MakeSpec
) -> None:
    left = torch.zeros(10, 20)
    left[:, :8] = 1
    contents = [waves(48, 64, 0.15), waves(48, 64, 0.3).flip(0), waves(48, 64, 0.2)]
    styles = [
        [Style(waves(56, 56, 0.9))],
        [Style(waves(56, 56, 0.5), 2), Style(waves(30, 60, 1.1))],
        [Style(waves(56, 56, 0.9), region=left), Style(waves(40, 40, 0.4), region=1 - left)],
    ]
    specs = [
        make_spec(),
        make_spec(style_weight=3, photorealism=10),
        make_spec(content_weight=0, tv_weight=1),
    ]
    requests = [Request(*parts) for parts in zip(contents, styles, specs, strict=True)]
    x = torch.rand(3, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    whole = objective_of(requests, SIZE)
    together = whole(x)
    for item, request in enumerate(requests):
        alone = objective_of([request], SIZE)(x[item : item + 1])
        torch.testing.assert_close(together.terms[item], alone.terms[0], rtol=1e-4, atol=1e-6)
        error = (together.gradient[item] - alone.gradient[0]).norm() / alone.gradient.norm()
        assert float(error) < 1e-4, item
    whole.keep([2, 0])
    kept = whole(x[[2, 0]])
    torch.testing.assert_close(kept.terms, together.terms[[2, 0]], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(kept.gradient, together.gradient[[2, 0]], rtol=1e-3, atol=1e-6)

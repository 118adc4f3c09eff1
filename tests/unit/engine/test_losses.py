"""The formulas, written out once more."""

import numpy as np
import pytest
import torch
from torch import Tensor

from worker.engine import losses
from worker.engine.losses import Weighting
from worker.engine.moments import Moments
from worker.engine.targets import StyleTarget

WEIGHTINGS: tuple[Weighting, ...] = ("paper", "normalized")


def features(channels: int, positions: int, seed: int) -> Tensor:
    """Post-ReLU features in float64, so that gradients can be compared closely."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, positions, generator=generator, dtype=torch.float64).relu()


def content_loss(features: Tensor, target: Tensor, weighting: Weighting) -> Tensor:
    """Distance of the features F from the content's features P, both (N, M): a scalar."""
    factor = losses.content_factor(target.square().sum(), target.numel(), weighting)
    return factor * (features - target).square().sum()


def test_the_content_gradient_is_f_minus_p() -> None:
    F, P = features(5, 12, 1).requires_grad_(), features(5, 12, 2)
    content_loss(F, P, "paper").backward()
    assert F.grad is not None
    torch.testing.assert_close(F.grad, F.detach() - P)


def test_the_style_gradient_is_the_paper_s_for_pictures_of_different_sizes() -> None:
    N, M_g, M_s = 5, 12, 20
    F, S = features(N, M_g, 1).requires_grad_(), features(N, M_s, 2)
    A = S @ S.T
    losses.style_loss(losses.gram(F), A / M_s, "paper").backward()
    f = F.detach()
    expected = 1 / (N**2 * M_g) * (f @ f.T / M_g - A / M_s) @ f
    assert F.grad is not None
    torch.testing.assert_close(F.grad, expected)


def test_with_equal_sizes_the_style_loss_is_equation_4_to_the_letter() -> None:
    N, M = 5, 12
    F, S = features(N, M, 1).numpy(), features(N, M, 2).numpy()
    G, A = F @ F.T, S @ S.T
    expected = ((G - A) ** 2).sum() / (4 * N**2 * M**2)
    found = losses.style_loss(losses.gram(torch.from_numpy(F)), losses.gram(torch.from_numpy(S)), "paper")
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_losses_agree_with_sums_written_out_in_numpy() -> None:
    F, P, S = features(4, 9, 1).numpy(), features(4, 9, 2).numpy(), features(4, 7, 3).numpy()
    G = np.array([[sum(F[i] * F[j]) / 9 for j in range(4)] for i in range(4)])
    A = np.array([[sum(S[i] * S[j]) / 7 for j in range(4)] for i in range(4)])
    f, p, g, a = (torch.from_numpy(array) for array in (F, P, G, A))
    cases = [
        (content_loss(f, p, "paper"), 0.5 * sum((F - P).ravel() ** 2)),
        (content_loss(f, p, "normalized"), sum((F - P).ravel() ** 2) / sum(P.ravel() ** 2)),
        (losses.style_loss(g, a, "paper"), sum((G - A).ravel() ** 2) / (4 * 4**2)),
        (losses.style_loss(g, a, "normalized"), sum((G - A).ravel() ** 2) / sum(A.ravel() ** 2)),
        (losses.gram(f)[1, 2], G[1, 2]),
    ]
    for found, expected in cases:
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_a_texture_s_own_gram_gives_no_style_loss() -> None:
    S = features(6, 30, 1)
    shuffled = S[:, torch.randperm(30, generator=torch.Generator().manual_seed(2))]
    for weighting in WEIGHTINGS:
        assert float(losses.style_loss(losses.gram(shuffled), losses.gram(S), weighting)) < 1e-28


def test_nothing_at_all_is_one_away_from_any_target_in_the_normalized_weighting() -> None:
    P, A = features(4, 9, 1), losses.gram(features(4, 9, 2))
    assert float(content_loss(torch.zeros_like(P), P, "normalized")) == pytest.approx(1)
    assert float(losses.style_loss(torch.zeros_like(A), A, "normalized")) == pytest.approx(1)


def test_a_target_without_energy_gives_a_finite_loss() -> None:
    F, dark = features(4, 9, 1), torch.zeros(4, 9, dtype=torch.float64)
    assert np.isfinite(float(content_loss(F, dark, "normalized")))
    assert np.isfinite(float(losses.style_loss(losses.gram(F), losses.gram(dark), "normalized")))
    assert np.isfinite(float(losses.mean_factor(dark.mean(dim=1), "normalized")))


def moments_of(F: Tensor, *, means: bool) -> Moments:
    return Moments(losses.gram(F)[None, None], F.mean(dim=1)[None, None] if means else None)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("means", [False, True])
def test_a_style_target_s_gradients_are_those_of_autograd(weighting: Weighting, means: bool) -> None:
    target = StyleTarget.of(moments_of(features(5, 20, 2), means=means), weighting)
    found = moments_of(features(5, 12, 1), means=means)
    second = found.second.clone().requires_grad_()
    first = None if found.first is None else found.first.clone().requires_grad_()
    value, by_second, by_first = target.compare(Moments(second, first))
    leaves = [leaf for leaf in (second, first) if leaf is not None]
    expected = torch.autograd.grad(value.sum(), leaves)
    torch.testing.assert_close(by_second.detach(), expected[0])
    assert (by_first is None) == (not means)
    if by_first is not None:
        torch.testing.assert_close(by_first.detach(), expected[1])


def test_the_moments_loss_is_half_the_covariance_s_distance_and_half_the_mean_s() -> None:
    F, S = features(4, 9, 1), features(4, 30, 2)
    target = StyleTarget.of(moments_of(S, means=True), "normalized")
    value, _, _ = target.compare(moments_of(F, means=True))
    C, A = np.cov(F.numpy(), bias=True), np.cov(S.numpy(), bias=True)
    m, s = F.numpy().mean(axis=1), S.numpy().mean(axis=1)
    expected = (((C - A) ** 2).sum() / (A**2).sum() + ((m - s) ** 2).sum() / (s**2).sum()) / 2
    assert float(value) == pytest.approx(expected, rel=1e-10)


def test_total_variation_is_the_mean_squared_step_along_both_axes() -> None:
    image = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]])
    found = losses.total_variation(image, torch.zeros_like(image), torch.zeros(1))
    assert float(found) == pytest.approx((0 + 4) / 2 + (1 + 9) / 2)


def test_total_variation_of_a_single_pixel_is_zero() -> None:
    image = torch.rand(2, 3, 1, 1)
    assert losses.total_variation(image, torch.zeros_like(image), torch.ones(2)).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(7, 9), (1, 5), (6, 1)])
def test_total_variation_adds_its_weighted_gradient(shape: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *shape, dtype=torch.float64).requires_grad_()
    weights = torch.tensor([2.0, 0.5], dtype=torch.float64)
    gradient = torch.ones(2, 3, *shape, dtype=torch.float64)
    value = losses.total_variation(image.detach(), gradient, weights)
    d = [image.diff(dim=dim).square() for dim in (2, 3)]
    plain = sum(one.mean(dim=(1, 2, 3)) for one in d if one.numel())
    torch.testing.assert_close(value, plain.detach())
    (expected,) = torch.autograd.grad((weights * plain).sum(), image)
    torch.testing.assert_close(gradient - 1, expected)

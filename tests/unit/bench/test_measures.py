import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bench import measures
from bench.measures import gram_distances, noise_ratio, ssim
from bench.networks import random_network
from worker.engine.vgg import VGG

SMALL = ((4,), (6,), (8,), (8,), (8,))


@pytest.fixture(scope="module")
def network() -> VGG:
    return random_network(SMALL)


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def forms(height: int, width: int, seed: int = 0) -> Tensor:
    """Noise without its finest frequencies."""
    coarse = noise(height // 8 + 1, width // 8 + 1, seed)[None]
    return F.interpolate(coarse, size=(height, width), mode="bicubic")[0].clamp(0, 1)


def wang_et_al(image: Tensor, reference: Tensor) -> float:
    """Equations 6 and 13 to 16, window by window, in numpy."""
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    x, y = (np.tensordot([0.299, 0.587, 0.114], p.double().numpy(), axes=1) for p in (image, reference))
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (plane[top : top + 11, left : left + 11] for plane in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            cov = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = 0.01**2, 0.03**2
            likeness = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            found.append(likeness * (2 * cov + c2) / (var_a + var_b + c2))
    return float(np.mean(found))


def test_a_picture_is_wholly_similar_to_itself() -> None:
    assert ssim(forms(20, 30), forms(20, 30)) == pytest.approx(1, abs=1e-12)


def test_ssim_is_the_paper_s_formula_window_by_window() -> None:
    image, reference = forms(16, 19), (forms(16, 19) + 0.3 * noise(16, 19, seed=1)).clamp(0, 1)
    assert ssim(image, reference) == pytest.approx(wang_et_al(image, reference), abs=1e-6)


def test_ssim_falls_as_a_picture_is_disturbed_more() -> None:
    image, disturbance = forms(40, 40), noise(40, 40, seed=1) - 0.5
    found = [ssim(image + share * disturbance, image) for share in (0.0, 0.1, 0.3, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.5


def test_ssim_serves_pictures_smaller_than_its_window_and_refuses_two_sizes() -> None:
    assert ssim(noise(4, 1), noise(4, 1)) == pytest.approx(1)
    with pytest.raises(ValueError, match="size"):
        ssim(noise(20, 20), noise(20, 21))


def test_a_picture_is_as_fine_grained_as_itself_and_noise_makes_it_more_so() -> None:
    style = forms(40, 40)
    found = [noise_ratio(style + share * (noise(40, 40, seed=1) - 0.5), style) for share in (0.0, 0.1, 0.3)]
    assert found[0] == 1
    assert found[0] < 2 * found[1] < found[2]


def test_the_noise_ratio_sees_the_finest_band_only() -> None:
    checks = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().expand(3, -1, -1) - 0.5
    slow = torch.sin(torch.arange(32) / 8).expand(3, 32, -1)
    base = forms(32, 32)
    # The binomial blur takes away the whole of a chequerboard, and 0.4 % of a wave of 50 pixels.
    grain = float((0.2 * checks).square().mean())
    own = measures.LEAST_GRAIN
    flat = torch.full((3, 32, 32), 0.5)
    assert noise_ratio(flat + 0.2 * checks, flat) == pytest.approx(grain / own, rel=0.1)
    assert noise_ratio(base + 0.2 * slow, base) < 1.2


def test_the_noise_ratio_is_finite_for_flat_pictures() -> None:
    flat = torch.full((3, 16, 16), 0.3)
    assert noise_ratio(flat, flat) == 1
    assert 0 < noise_ratio(flat, noise(16, 16)) < 1 < noise_ratio(noise(16, 16), flat) < float("inf")


def test_the_same_picture_has_no_gram_distance_and_another_has_some(network: VGG) -> None:
    style = forms(64, 64)
    same, other = gram_distances(network, style, style), gram_distances(network, noise(64, 64), style)
    assert set(same) == {"relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"}
    assert max(same.values()) == 0
    assert min(other.values()) > 1e-3


def test_the_gram_distance_forgets_where_things_are(network: VGG) -> None:
    style = forms(128, 128)
    # Moved by half its width, its edges joined: the same texture elsewhere.
    moved, other = style.roll(64, dims=2), forms(128, 128, seed=1)
    ours, theirs = gram_distances(network, moved, style), gram_distances(network, other, style)
    assert sum(ours.values()) < 0.5 * sum(theirs.values())


def test_a_layer_s_distance_is_the_sum_over_grams_written_out(network: VGG) -> None:
    image, style = noise(32, 40), forms(48, 32)

    def gram(picture: Tensor) -> np.ndarray:
        found = network(picture[None], ["relu2_1"])["relu2_1"][0].double().numpy()
        flat = found.reshape(len(found), -1)
        return flat @ flat.T / flat.shape[1]

    expected = ((gram(image) - gram(style)) ** 2).sum() / (gram(style) ** 2).sum()
    assert gram_distances(network, image, style)["relu2_1"] == pytest.approx(expected, rel=1e-4)

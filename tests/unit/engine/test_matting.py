import numpy as np
import pytest
import torch
from torch import Tensor

from worker.engine import matting
from worker.engine.matting import MattingLaplacian


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def equation_12(content: Tensor, epsilon: float) -> np.ndarray:
    """L as a full matrix in float64, entry by entry as Levin et al. write it."""
    _, height, width = content.shape
    colours = content.double().numpy().reshape(3, -1).T
    L = np.zeros((height * width, height * width))
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            window = [(row + i) * width + column + j for i in (-1, 0, 1) for j in (-1, 0, 1)]
            deviations = colours[window] - colours[window].mean(axis=0)
            covariance = deviations.T @ deviations / 9
            inverse = np.linalg.inv(covariance + epsilon / 9 * np.eye(3))
            L[np.ix_(window, window)] += np.eye(9) - (1 + deviations @ inverse @ deviations.T) / 9
    return L


def product(laplacian: MattingLaplacian, x: Tensor) -> Tensor:
    """L x, from the gradient (2 / HW) L x."""
    height, width = x.shape[-2:]
    return laplacian.energy_and_gradient(x)[1] * (height * width / 2)


def columns(laplacian: MattingLaplacian, height: int, width: int) -> np.ndarray:
    """All of L, a batch of unit pictures at once."""
    units = torch.eye(height * width).reshape(-1, 1, height, width)
    return product(laplacian, units).reshape(height * width, -1).T.double().numpy()


def grey(image: Tensor) -> Tensor:
    return image.mean(dim=0, keepdim=True).expand(3, -1, -1).contiguous()


@pytest.mark.parametrize("strip", [matting.STRIP, 30])
def test_every_entry_is_that_of_equation_12_in_one_strip_and_in_several(
    strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matting, "STRIP", strip)
    for content, epsilon in ((picture(12, 10), 1e-7), (picture(12, 10, seed=1) / 50 + 0.7, 1e-4)):
        found = columns(MattingLaplacian(content, epsilon), 12, 10)
        np.testing.assert_allclose(found, equation_12(content, epsilon), atol=2e-5)


def test_it_is_symmetric_and_the_rows_sum_to_zero() -> None:
    L = columns(MattingLaplacian(picture(12, 10)), 12, 10)
    np.testing.assert_allclose(L, L.T, atol=2e-5)
    np.testing.assert_allclose(L.sum(axis=1), 0, atol=2e-5)


def test_a_picture_affine_in_the_content_s_colours_costs_nothing() -> None:
    content = picture(20, 24)
    matrix = torch.tensor([[0.5, -0.2, 0.1], [0.3, 0.9, 0.0], [-0.4, 0.2, 1.2]])
    affine = torch.einsum("ij,jhw->ihw", matrix, content) + torch.tensor([0.1, 0.0, 0.3])[:, None, None]
    laplacian = MattingLaplacian(content, epsilon=1e-7)
    energy, gradient = laplacian.energy_and_gradient(affine)
    other_energy, other_gradient = laplacian.energy_and_gradient(picture(20, 24, seed=1))
    assert float(energy) < 1e-5 * float(other_energy)
    assert float(gradient.abs().max()) < 1e-4 * float(other_gradient.abs().max())


def test_an_edge_that_the_content_lacks_costs_and_one_that_it_has_does_not() -> None:
    content = torch.full((3, 16, 16), 0.3)
    content[:, :, 8:] = 0.6
    edge_at = {place: content.clone().fill_(0.2) for place in (8, 5)}
    for place, image in edge_at.items():
        image[:, :, place:] = 0.9
    laplacian = MattingLaplacian(content, epsilon=1e-7)
    same, moved = (float(laplacian.energy_and_gradient(edge_at[place])[0]) for place in (8, 5))
    assert same < 1e-4 * moved


@pytest.mark.parametrize("epsilon", [1e-7, 1e-2])
def test_energy_and_gradient_are_the_quadratic_form_per_pixel_and_its_derivative(epsilon: float) -> None:
    content, x = picture(12, 10), picture(12, 10, seed=1)
    L = torch.from_numpy(equation_12(content, epsilon))
    flat = x.double().flatten(1).requires_grad_()
    expected = torch.einsum("ci,ij,cj->", flat, L, flat) / 120
    (expected_gradient,) = torch.autograd.grad(expected, flat)
    energy, gradient = MattingLaplacian(content, epsilon).energy_and_gradient(x)
    assert float(energy) == pytest.approx(float(expected.detach()), rel=1e-5)
    torch.testing.assert_close(gradient.double().flatten(1), expected_gradient, atol=1e-6, rtol=1e-4)


def test_the_gradient_is_what_finite_differences_of_the_energy_give() -> None:
    content, x, direction = (picture(9, 11, seed) for seed in (0, 1, 2))
    laplacian = MattingLaplacian(content)
    ahead, behind = (laplacian.energy_and_gradient(x + step * direction)[0] for step in (0.1, -0.1))
    _, gradient = laplacian.energy_and_gradient(x)
    assert float((gradient * direction).sum()) == pytest.approx(float(ahead - behind) / 0.2, rel=1e-3)


def test_a_batch_gets_one_energy_a_picture() -> None:
    laplacian = MattingLaplacian(picture(8, 9))
    batch = torch.stack([picture(8, 9, seed=1), picture(8, 9, seed=2)])
    energies, gradients = laplacian.energy_and_gradient(batch)
    assert energies.shape == (2,)
    for number, x in enumerate(batch):
        energy, gradient = laplacian.energy_and_gradient(x)
        torch.testing.assert_close(energies[number], energy)
        torch.testing.assert_close(gradients[number], gradient)


def smooth(height: int, width: int) -> Tensor:
    """Slow waves in 8-bit steps: windows of few colours or one, as a sky's are."""
    rows, across = torch.arange(height)[:, None] / 90, torch.arange(width)[None] / 70
    waves = torch.stack([torch.sin(rows + k) * torch.cos(across * (1 + k / 2)) for k in range(3)])
    return (waves * 127 + 128).round() / 255


def two_colours(height: int, width: int) -> Tensor:
    """Pixels of one colour or another, so that a window's colours lie on a line, far apart."""
    return torch.tensor([0.93, 0.37, 0.61])[:, None, None] * picture(height, width)[:1].round() + 0.03


@pytest.mark.parametrize("epsilon", [1e-7, 1e-4])
@pytest.mark.parametrize(
    "content",
    [smooth(300, 400), grey(smooth(300, 400)), grey(picture(300, 400)), two_colours(300, 400)],
    ids=["smooth", "smooth-grey", "grey", "two-colours"],
)
def test_float32_holds_at_real_sizes_on_smooth_and_grey_contents(content: Tensor, epsilon: float) -> None:
    x = (content * 0.8 + 0.1 * picture(300, 400, seed=1)).clamp(0, 1)
    patch = (slice(None), slice(100, 112), slice(200, 212))
    expected = np.einsum(
        "ij,cj->ci", equation_12(content[patch], epsilon), x[patch].double().numpy().reshape(3, -1)
    )
    inner = expected.reshape(3, 12, 12)[:, 2:-2, 2:-2]
    found = product(MattingLaplacian(content, epsilon), x)[patch][:, 2:-2, 2:-2].numpy()
    np.testing.assert_allclose(found, inner, atol=1e-4 * np.abs(inner).max())


def test_a_flat_content_lets_only_flat_pictures_pass() -> None:
    laplacian = MattingLaplacian(torch.full((3, 10, 10), 0.5))
    assert float(laplacian.energy_and_gradient(torch.full((3, 10, 10), 0.9))[0]) < 1e-12
    assert float(laplacian.energy_and_gradient(picture(10, 10))[0]) > 1


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2)])
def test_a_picture_without_a_window_costs_nothing(size: tuple[int, int]) -> None:
    energy, gradient = MattingLaplacian(picture(*size)).energy_and_gradient(picture(*size, seed=1))
    assert float(energy) == 0
    assert not bool(gradient.any())


def test_one_weight_serves_every_size() -> None:
    energies = [
        float(MattingLaplacian(picture(side, side)).energy_and_gradient(picture(side, side, seed=1))[0])
        for side in (100, 200)
    ]
    assert energies[1] == pytest.approx(energies[0], rel=0.05)


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        MattingLaplacian(picture(5, 6)).energy_and_gradient(picture(6, 5))

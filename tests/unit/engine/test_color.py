import numpy as np
import pytest
import torch
from torch import Tensor

from worker.engine.color import LUMA, MAX_GAIN, keep_chroma, match_colors


def picture(seed: int, mean: float = 0.5, spread: float = 0.06, size: tuple[int, int] = (24, 30)) -> Tensor:
    """Noise of correlated colours that stays well inside [0, 1]."""
    generator = np.random.default_rng(seed)
    mixing = np.eye(3) + generator.uniform(-0.3, 0.3, size=(3, 3))
    colours = mean + spread * mixing @ generator.uniform(-1, 1, size=(3, size[0] * size[1]))
    return torch.from_numpy(colours.reshape(3, *size)).float()


def statistics(image: Tensor, weights: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    colours = image.double().numpy().reshape(3, -1)
    shares = None if weights is None else weights.double().numpy().ravel()
    mean = np.average(colours, axis=1, weights=shares)
    return mean, np.cov(colours, ddof=0, aweights=shares)


def grey(image: Tensor) -> Tensor:
    return image.mean(dim=0, keepdim=True).expand(3, -1, -1).contiguous()


def test_a_matched_style_has_the_content_s_mean_and_covariance() -> None:
    style, content = picture(1, mean=0.4), picture(2, mean=0.6, spread=0.08, size=(17, 40))
    found_mean, found_covariance = statistics(match_colors(style, content))
    mean, covariance = statistics(content)
    np.testing.assert_allclose(found_mean, mean, atol=1e-6)
    np.testing.assert_allclose(found_covariance, covariance, atol=1e-7)


def test_the_map_is_the_one_that_moves_colours_least() -> None:
    style, content = picture(1), picture(2)
    matched = match_colors(style, content).double().numpy().reshape(3, -1)
    colours = style.double().numpy().reshape(3, -1)
    (_, source), (_, target) = statistics(style), statistics(content)
    moved = ((matched - colours) ** 2).sum(axis=0).mean()

    def root(matrix: np.ndarray) -> np.ndarray:
        values, axes = np.linalg.eigh(matrix)
        return axes * np.sqrt(values) @ axes.T

    # The squared Wasserstein distance of two Gaussians: no affine map with these statistics moves less.
    means = ((matched.mean(axis=1) - colours.mean(axis=1)) ** 2).sum()
    least = means + np.trace(source + target - 2 * root(root(source) @ target @ root(source)))
    assert moved == pytest.approx(least, rel=1e-4)


def test_a_picture_matched_to_itself_stays_as_it_is() -> None:
    style = picture(1)
    torch.testing.assert_close(match_colors(style, style), style, atol=1e-5, rtol=0)


def test_masks_choose_whose_colours_are_matched() -> None:
    style, content = picture(1, size=(20, 20)), picture(2, size=(20, 20))
    style[:, :, :10] += 0.2
    content[:, :10] -= 0.2
    style_mask = torch.linspace(0, 1, 20).expand(20, 20)
    content_mask = torch.linspace(1, 0, 20)[:, None].expand(20, 20)
    matched = match_colors(style, content, style_mask, content_mask)
    found_mean, found_covariance = statistics(matched, style_mask)
    mean, covariance = statistics(content, content_mask)
    np.testing.assert_allclose(found_mean, mean, atol=1e-5)
    np.testing.assert_allclose(found_covariance, covariance, atol=1e-5)


def test_an_empty_mask_counts_as_none() -> None:
    style, content = picture(1), picture(2)
    empty = torch.zeros(24, 30)
    torch.testing.assert_close(match_colors(style, content, empty, empty), match_colors(style, content))


def test_a_grey_content_makes_the_style_grey() -> None:
    matched = match_colors(picture(1), grey(picture(2)))
    torch.testing.assert_close(matched, grey(matched), atol=1e-4, rtol=0)
    assert matched.std() > 0.01


def test_a_grey_style_s_noise_is_not_blown_up_into_colour() -> None:
    content = picture(2, spread=0.3)
    style = grey(picture(1, spread=0.3))
    specks = 0.002 * torch.randn(style.shape, generator=torch.Generator().manual_seed(0))
    change = match_colors(style + specks, content) - match_colors(style, content)
    assert change.abs().max() < 1.5 * MAX_GAIN * specks.abs().max()


@pytest.mark.parametrize("flat", [0.0, 0.3, 1.0])
def test_flat_pictures_give_finite_colours(flat: float) -> None:
    plain = torch.full((3, 8, 9), flat)
    as_style = match_colors(plain, picture(2))
    mean, _ = statistics(picture(2))
    np.testing.assert_allclose(as_style.numpy(), np.broadcast_to(mean[:, None, None], (3, 8, 9)), atol=1e-5)
    as_content = match_colors(picture(1), plain)
    torch.testing.assert_close(as_content, torch.full_like(as_content, flat), atol=1e-4, rtol=0)


def test_one_pixel_is_enough() -> None:
    pixel = torch.tensor([0.2, 0.5, 0.7])[:, None, None]
    assert bool(match_colors(pixel, picture(2)).isfinite().all())
    assert bool(match_colors(picture(1), pixel).isfinite().all())


def luminance(image: Tensor) -> Tensor:
    return (torch.tensor(LUMA)[:, None, None] * image).sum(dim=0)


# The first rows of the FCC's RGB to YIQ matrix, written out anew.
YIQ = np.array([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])


def test_the_result_has_the_painting_s_y_and_the_content_s_i_and_q() -> None:
    painted, content = picture(1), picture(2, mean=0.4)
    expected = YIQ @ content.double().numpy().reshape(3, -1)
    expected[0] = (YIQ @ painted.double().numpy().reshape(3, -1))[0]
    found = keep_chroma(painted, content).double().numpy().reshape(3, -1)
    np.testing.assert_allclose(YIQ @ found, expected, atol=1e-6)


def test_out_of_gamut_colours_lose_chroma_but_neither_luminance_nor_hue() -> None:
    generator = torch.Generator().manual_seed(3)
    painted, content = torch.rand(2, 3, 40, 40, generator=generator)
    found = keep_chroma(painted, content)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    torch.testing.assert_close(luminance(found), luminance(painted), atol=1e-5, rtol=0)
    wanted, kept = content - luminance(content), found - luminance(found)
    # Parallel and of the same sense: what the content's chroma has that the result's lacks is along it.
    share = (wanted * kept).sum(dim=0) / wanted.square().sum(dim=0)
    torch.testing.assert_close(kept, share * wanted, atol=1e-5, rtol=0)
    assert float(share.min()) >= -1e-5
    assert float(share.max()) <= 1 + 1e-5
    assert float(share.min()) < 0.5


def test_black_and_white_paint_stays_black_and_white() -> None:
    content = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(3))
    for value in (0.0, 1.0):
        painted = torch.full_like(content, value)
        torch.testing.assert_close(keep_chroma(painted, content), painted, atol=1e-6, rtol=0)
        torch.testing.assert_close(keep_chroma(painted, grey(content)), painted, atol=1e-6, rtol=0)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="chroma"):
        keep_chroma(torch.rand(3, 4, 4), torch.rand(3, 4, 5))

import pytest
import torch

from worker.engine import images


@pytest.mark.parametrize(
    ("shape", "size"),
    [((100, 200), (64, 128)), ((200, 100), (128, 64)), ((1, 1), (128, 128)), ((3, 5000), (1, 128))],
)
def test_the_longest_side_is_as_asked_and_no_side_vanishes(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    assert images.size_for(torch.zeros(3, *shape), 128) == size


def test_resizing_overshoots_neither_range_nor_size() -> None:
    checks = (torch.arange(40) // 4 % 2).float().expand(3, 40, 40)
    for size in ((13, 9), (81, 120)):
        resized = images.resize(checks, size)
        assert resized.shape == (3, *size)
        assert 0 <= float(resized.min()) <= float(resized.max()) <= 1


def test_enlarging_with_its_own_detail_gives_a_picture_back() -> None:
    fine = 0.3 + 0.4 * torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(1))
    coarse = images.resize(fine, (24, 32))
    assert torch.allclose(images.enlarge(coarse, coarse, fine, 1), fine, atol=1e-6)
    assert torch.equal(images.enlarge(coarse, coarse, fine, 0), images.resize(coarse, (48, 64)))


def test_enlarging_adds_nothing_that_was_to_be_seen_at_the_smaller_size() -> None:
    slope = torch.linspace(0.2, 0.8, 64).expand(3, 48, 64)
    grey = torch.full((3, 24, 32), 0.5)
    middle = images.enlarge(grey, images.resize(slope, (24, 32)), slope, 1)[:, 8:-8, 8:-8]
    assert torch.allclose(middle, torch.full_like(middle, 0.5), atol=1e-3)


def test_enlarging_overshoots_neither_range_nor_size() -> None:
    checks = (torch.arange(40) // 2 % 2).float().expand(3, 40, 40)
    coarse = images.resize(checks, (20, 20))
    enlarged = images.enlarge(coarse, coarse, checks, 3)
    assert enlarged.shape == (3, 40, 40)
    assert 0 <= float(enlarged.min()) <= float(enlarged.max()) <= 1


def test_covering_keeps_the_aspect_and_the_middle() -> None:
    # Given a wide picture whose middle third is white, a square cut of a third of its width is white.
    wide = torch.zeros(3, 30, 90)
    wide[:, :, 30:60] = 1
    cut = images.cover(wide, (30, 30))
    assert cut.shape == (3, 30, 30)
    assert float(cut[:, :, 2:-2].min()) == 1


@pytest.mark.parametrize(
    ("shape", "size"), [((90, 30), (30, 30)), ((7, 400), (50, 40)), ((300, 200), (20, 64))]
)
def test_covering_is_resizing_all_and_cutting_out_the_middle(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), size=shape, mode="bilinear")[0]
    scale = max(size[0] / shape[0], size[1] / shape[1])
    whole = images.resize(image, (round(shape[0] * scale), round(shape[1] * scale)))
    top, left = ((whole.shape[dim] - length) // 2 for dim, length in ((1, size[0]), (2, size[1])))
    middle = whole[:, top : top + size[0], left : left + size[1]]
    assert float((images.cover(image, size) - middle).abs().mean()) < 0.02


def test_covering_with_a_thread_of_a_picture_takes_no_more_memory_than_its_middle() -> None:
    # Enlarged whole, it would have a million rows of 1024 pixels, 12 GB.
    assert images.cover(torch.rand(3, 10_000, 10), (1024, 1024)).shape == (3, 1024, 1024)


def test_noise_is_the_seed_s_and_white() -> None:
    noise = images.white_noise((64, 64), seed=7)
    assert torch.equal(noise, images.white_noise((64, 64), seed=7))
    assert not torch.equal(noise, images.white_noise((64, 64), seed=8))
    centred = noise - noise.mean()
    neighbours = (centred[:, :, 1:] * centred[:, :, :-1]).mean() / centred.square().mean()
    assert abs(float(neighbours)) < 0.03


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(1, 4, 4),
        torch.zeros(3, 4),
        torch.zeros(3, 0, 4),
        torch.zeros(3, 4, 4, dtype=torch.uint8),
        torch.full((3, 4, 4), float("nan")),
        torch.full((3, 4, 4), 255.0),
    ],
)
def test_what_is_no_picture_is_refused_by_name(image: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="the content"):
        images.check(image, "the content")

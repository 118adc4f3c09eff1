"""The engine as its callers use it: what it paints, what it tells, when it stops, how it goes on."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.spec import Spec
from worker.engine import (
    Checkpoint,
    CheckpointError,
    DivergedError,
    Engine,
    Progress,
    Stopped,
    Style,
    images,
)
from worker.engine.contract import Request
from worker.engine.pyramid import DETAIL
from worker.engine.resumption import fingerprint
from worker.engine.vgg import LAYOUTS, VGG, Widths

MakeSpec = Callable[..., Spec]


def psnr(image: Tensor, reference: Tensor) -> float:
    return float(-10 * torch.log10((image - reference).square().mean()))


def test_white_noise_with_content_loss_alone_becomes_the_content(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec = make_spec(init="noise", style_weight=0, tv_weight=0, content_layers={"conv1_2": 1.0}, steps=100)
    pictures: list[Tensor] = []
    outcome = engine.stylize(
        photograph, [Style(texture)], spec, on_progress=lambda progress: pictures.append(progress.image())
    )
    reference = images.resize(photograph, (48, 64))
    assert psnr(pictures[0], reference) < 10
    assert psnr(outcome.image, reference) > 16


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({}, DETAIL),
        ({"alpha_beta": 1e-3, "content_weight": 0}, DETAIL),
        ({"init": "style"}, 0),
        ({"content_weight": 0}, 0),
    ],
    ids=["from the content", "by the ratio", "from another picture", "not towards the content"],
)
def test_a_level_that_is_painted_from_the_content_begins_with_its_detail(
    engine: Engine, make_spec: MakeSpec, texture: Tensor, fields: dict[str, object], detail: float
) -> None:
    # One evaluation a level: each ends as it began.
    content = 0.25 + texture / 2
    spec = make_spec(size=128, pyramid=2, steps=2, **fields)
    begun = images.resize(content, (64, 64)) if "init" not in fields else images.cover(texture, (64, 64))
    coarse, fine = (images.resize(content, size) for size in ((64, 64), (128, 128)))
    expected = images.enlarge(begun, coarse, fine, detail)
    assert torch.allclose(engine.stylize(content, [Style(texture)], spec).image, expected, atol=1e-6)


def test_the_content_itself_has_no_content_loss_and_the_style_itself_no_style_loss(
    engine: Engine, make_spec: MakeSpec, texture: Tensor
) -> None:
    seen: list[Progress] = []
    engine.stylize(texture, [Style(texture)], make_spec(steps=1), seen.append)
    assert seen[0].losses["content"] == 0
    assert seen[0].losses["style"] < 1e-9


def test_a_given_picture_is_where_painting_starts(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    first: list[Tensor] = []
    engine.stylize(
        photograph,
        [Style(texture)],
        make_spec(init="picture", steps=1),
        lambda progress: first.append(progress.image()),
        init=1 - photograph,
    )
    assert psnr(first[0], 1 - photograph) > 40
    assert psnr(first[0], photograph) < 20


def test_a_start_without_its_picture_and_a_picture_without_its_start_are_refused(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    with pytest.raises(ValueError, match="a picture to start from"):
        engine.stylize(photograph, [Style(texture)], make_spec(init="picture"))
    with pytest.raises(ValueError, match="a picture to start from"):
        engine.stylize(photograph, [Style(texture)], make_spec(), init=photograph)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("weighting", ["normalized", "paper"])
@pytest.mark.parametrize("init", ["content", "style", "noise"])
def test_the_loss_falls(
    engine: Engine,
    make_spec: MakeSpec,
    photograph: Tensor,
    texture: Tensor,
    optimizer: str,
    weighting: str,
    init: str,
) -> None:
    style_weight = 100.0 if weighting == "normalized" else 1e5
    spec = make_spec(optimizer=optimizer, weighting=weighting, init=init, style_weight=style_weight)
    losses: list[float] = []
    engine.stylize(photograph, [Style(texture)], spec, lambda p: losses.append(p.losses["total"]))
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("weighting", ["normalized", "paper"])
def test_more_style_weight_moves_the_result_from_content_to_style(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, weighting: str
) -> None:
    scale = 1.0 if weighting == "normalized" else 1e3
    found = []
    for weight in (0.1, 3, 100):
        spec = make_spec(weighting=weighting, style_weight=weight * scale, tv_weight=0, steps=30)
        found.append(engine.stylize(photograph, [Style(texture)], spec).losses)
    assert all(more["style"] < less["style"] for less, more in pairwise(found))
    assert all(more["content"] > less["content"] for less, more in pairwise(found))


def test_the_same_seed_paints_the_same_bytes(
    engine: Engine, weights_dir: Path, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec = make_spec(init="noise", seed=5, size=128, pyramid=2)
    first = engine.stylize(photograph, [Style(texture)], spec).image
    second = (
        Engine(weights_dir, device="cpu", dtype="float32").stylize(photograph, [Style(texture)], spec).image
    )
    other = engine.stylize(photograph, [Style(texture)], spec.model_copy(update={"seed": 6})).image
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_progress_tells_each_evaluation_and_its_level(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    seen: list[Progress] = []
    sizes: list[tuple[int, ...]] = []

    def note(progress: Progress) -> None:
        seen.append(progress)
        sizes.append(tuple(progress.image().shape))

    outcome = engine.stylize(photograph, [Style(texture)], make_spec(size=128, pyramid=2), note)
    assert [progress.step for progress in seen] == list(range(1, 21))
    assert {(progress.steps, progress.levels) for progress in seen} == {(20, 2)}
    assert sizes[0] == (3, 48, 64)
    assert sizes[-1] == tuple(outcome.image.shape) == (3, 96, 128)
    assert [progress.level for progress in seen] == sorted(progress.level for progress in seen)
    assert set(outcome.losses) == {"total", "content", "style", "tv", "photorealism"}
    assert outcome.losses["total"] == min(p.losses["total"] for p in seen if p.level == 1)
    assert (outcome.evaluations, outcome.device, outcome.dtype) == (20, "cpu", "float32")


def test_a_style_without_weight_changes_nothing_and_equal_weights_lie_between(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec, other = make_spec(steps=5), photograph.flip(-1).square()
    alone = engine.stylize(photograph, [Style(texture)], spec).image
    assert torch.equal(engine.stylize(photograph, [Style(texture, 3), Style(other, 0)], spec).image, alone)
    mixed = engine.stylize(photograph, [Style(texture), Style(other)], spec).losses
    assert mixed["style"] > 0


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_run_resumed_with_its_optimizer_s_state_is_the_undisturbed_run(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, optimizer: str
) -> None:
    spec = make_spec(size=128, pyramid=2, optimizer=optimizer)
    kept: dict[int, bytes] = {}
    whole = engine.stylize(
        photograph,
        [Style(texture)],
        spec,
        lambda progress: kept.update({progress.step: progress.checkpoint().to_bytes()}),
    )
    for step in (5, 12, 13, 20):
        resumed = engine.stylize(photograph, [Style(texture)], spec, resume=Checkpoint.from_bytes(kept[step]))
        assert resumed.losses["total"] == pytest.approx(whole.losses["total"], rel=1e-4), step
        torch.testing.assert_close(resumed.image, whole.image, rtol=0, atol=2e-3)


def test_a_stop_is_obeyed_before_the_next_evaluation_and_can_be_taken_up_again(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec, steps = make_spec(), []
    with pytest.raises(Stopped) as stopped:
        engine.stylize(
            photograph,
            [Style(texture)],
            spec,
            on_progress=lambda progress: steps.append(progress.step),
            should_stop=lambda: len(steps) == 7,
        )
    assert steps[-1] == stopped.value.checkpoint.step == 7
    whole = engine.stylize(photograph, [Style(texture)], spec)
    resumed = engine.stylize(photograph, [Style(texture)], spec, resume=stopped.value.checkpoint)
    assert resumed.losses["total"] == pytest.approx(whole.losses["total"], rel=1e-4)
    assert resumed.evaluations == whole.evaluations


def test_a_checkpoint_of_another_painting_is_refused(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    kept: list[Checkpoint] = []
    engine.stylize(photograph, [Style(texture)], make_spec(steps=2), lambda p: kept.append(p.checkpoint()))
    for spec, style in (
        (make_spec(steps=3), Style(texture)),
        (make_spec(steps=2), Style(texture, 2)),
        (make_spec(steps=2), Style(texture[:, 1:])),
    ):
        with pytest.raises(CheckpointError):
            engine.stylize(photograph, [style], spec, resume=kept[0])


def test_a_checkpoint_that_lies_about_its_place_is_refused(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec, styles = make_spec(), [Style(texture)]
    name = fingerprint(Request(photograph, styles, spec))
    for liar in (
        Checkpoint(name, 3, 7, torch.zeros(3, 48, 64)),
        Checkpoint(name, 99, 0, torch.zeros(3, 48, 64)),
        Checkpoint(name, 3, 0, torch.zeros(3, 8, 8)),
        Checkpoint(name, 3, 0, torch.zeros(3, 48, 64), optimizer={"nonsense": torch.zeros(1)}),
    ):
        with pytest.raises(CheckpointError):
            engine.stylize(photograph, styles, spec, resume=liar)


@pytest.mark.parametrize("content", [(1, 1), (1, 50), (50, 1), (16, 16), (20, 1000)])
@pytest.mark.parametrize("style", [(1, 1), (2, 300)])
def test_extreme_shapes_paint_something_finite(
    engine: Engine, make_spec: MakeSpec, content: tuple[int, int], style: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = (0.2 + 0.6 * torch.rand(3, *shape, generator=generator) for shape in (content, style))
    spec = make_spec(size=128, pyramid=2, steps=6)
    outcome = engine.stylize(next(pictures), [Style(next(pictures))], spec)
    assert max(outcome.image.shape) == 128
    assert bool(torch.isfinite(outcome.image).all())
    assert float(outcome.image.max()) > 0.1


@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_flat_black_and_white_pictures_paint_something_finite(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, shade: float
) -> None:
    flat = torch.full((3, 40, 40), shade)
    for content, style in ((photograph, flat), (flat, photograph), (flat, flat)):
        image = engine.stylize(content, [Style(style)], make_spec(steps=10)).image
        assert bool(torch.isfinite(image).all())


@pytest.mark.parametrize("size", [16, 17, 31])
def test_the_smallest_sizes_paint(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor, size: int
) -> None:
    image = engine.stylize(photograph, [Style(texture)], make_spec(size=size, steps=3)).image
    assert max(image.shape) == size


def test_no_weight_at_all_leaves_the_first_picture(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, texture: Tensor
) -> None:
    spec = make_spec(content_weight=0, style_weight=0, tv_weight=0, steps=3)
    image = engine.stylize(photograph, [Style(texture)], spec).image
    torch.testing.assert_close(image, photograph)


@pytest.mark.parametrize("weights", [(), (0.0,), (1.0, -1.0)])
def test_styles_without_weight_are_refused(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, weights: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="weight"):
        engine.stylize(photograph, [Style(photograph, weight) for weight in weights], make_spec())


def test_an_unresolved_spec_is_refused(engine: Engine, photograph: Tensor) -> None:
    with pytest.raises(ValueError, match="resolve"):
        engine.stylize(photograph, [Style(photograph)], Spec(backbone="compact"))


def test_an_exploding_loss_ends_in_a_typed_error(
    tmp_path: Path,
    random_network: Callable[[Widths], VGG],
    make_spec: MakeSpec,
    photograph: Tensor,
    texture: Tensor,
) -> None:
    # Given a network whose activations overflow float32 when squared
    state = random_network(LAYOUTS["compact"]).state_dict()
    save_file({name: value * 1e25 for name, value in state.items()}, tmp_path / "compact.safetensors")
    with pytest.raises(DivergedError):
        Engine(tmp_path, device="cpu", dtype="float32").stylize(photograph, [Style(texture)], make_spec())

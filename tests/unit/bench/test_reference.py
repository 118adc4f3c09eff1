"""What pictures are judged by is what the engine minimises, and the textbook loop minimises it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bench import textbook
from bench.inputs import fitted, noise
from bench.reference import Objective, shipped
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Style

SIZE = 64


@pytest.fixture(scope="module")
def objective() -> Objective:
    pair = noise(80)
    spec = resolve({"size": SIZE, "pyramid": 1, "steps": 1}, BACKBONES["compact"])
    return Objective(shipped("compact"), spec, pair.content, pair.style)


@pytest.mark.parametrize(
    "controls",
    [{}, {"init": "noise"}, {"init": "noise", "style_loss": "gram"}, {"init": "noise", "style_scale": 0.7}],
    ids=lambda controls: " ".join(map(str, controls.values())) or "defaults",
)
def test_the_reference_gives_the_engines_losses(controls: dict[str, Any]) -> None:
    pair = noise(80)
    spec = resolve({"size": SIZE, "pyramid": 1, "steps": 1, **controls}, BACKBONES["compact"])
    pictures: list[Tensor] = []
    outcome = Engine(device="cpu", dtype="float32").stylize(
        pair.content,
        [Style(pair.style)],
        spec,
        on_progress=lambda progress: pictures.append(progress.image()),
    )
    terms = Objective(shipped("compact"), spec, pair.content, pair.style).terms(pictures[0])
    for name in ("total", "content", "style", "tv"):
        assert float(terms[name]) == pytest.approx(outcome.losses[name], rel=1e-4, abs=1e-5)


def test_bfloat16_judges_nearly_as_float32_does() -> None:
    pair = noise(80)
    spec = resolve({"size": SIZE, "init": "noise"}, BACKBONES["compact"])
    full, half = (
        Objective(shipped("compact", dtype), spec, pair.content, pair.style)
        for dtype in (torch.float32, torch.bfloat16)
    )
    picture = noise(SIZE, 1).content
    assert half.judge(picture) == pytest.approx(full.judge(picture), rel=0.05)


def test_the_textbook_loop_descends_and_counts_its_evaluations(objective: Objective) -> None:
    seen: list[tuple[int, float]] = []
    pictures: list[Tensor] = []

    def watch(done: int, loss: float, picture: Tensor) -> None:
        seen.append((done, loss))
        pictures.append(picture.clone())

    textbook.descend(objective, objective.content, 12, 10, watch)
    assert [done for done, _ in seen] == list(range(1, 13))
    assert torch.equal(pictures[0], objective.content)
    assert seen[-1][1] < 0.5 * seen[0][1]
    # What is handed out with a loss is the picture that has it.
    assert objective.judge(pictures[-1]) == pytest.approx(seen[-1][1], rel=1e-4)


def test_a_coarse_picture_is_judged_at_full_size(objective: Objective) -> None:
    coarse = fitted(objective.content, (21, 32))
    enlarged = fitted(coarse, (42, 64))
    assert objective.judge(coarse) == pytest.approx(objective.judge(enlarged))


def test_a_picture_of_full_size_is_judged_as_it_stands(objective: Objective) -> None:
    outside = objective.content + 0.5
    assert objective.judge(outside) != pytest.approx(objective.judge(outside.clamp(0, 1)))


@pytest.mark.parametrize("control", [{"weighting": "paper"}, {"color": "content"}, {"photorealism": 1.0}])
def test_the_reference_refuses_what_it_does_not_compute(control: dict[str, Any]) -> None:
    pair = noise(80)
    spec = resolve({"size": SIZE, **control}, BACKBONES["compact"])
    with pytest.raises(ValueError, match="normalized"):
        Objective(shipped("compact"), spec, pair.content, pair.style)

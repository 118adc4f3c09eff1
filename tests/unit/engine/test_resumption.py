"""A painting taken up from a checkpoint ends as well as one that was left alone, whatever its size."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from tests.unit.engine.conftest import waves
from worker.engine import (
    Checkpoint,
    CheckpointError,
    Engine,
    Outcome,
    Progress,
    Style,
    adam,
    lbfgs,
    resumption,
)
from worker.engine.contract import Request
from worker.engine.objective import Evaluation, Objective
from worker.engine.optimizers import ACCEPTED

MakeSpec = Callable[..., Spec]
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
STYLES = [Style(waves(72, 72, 0.4))]


@pytest.fixture(scope="module")
def shipped() -> Engine:
    return Engine(device="cpu", dtype="float32")


@pytest.fixture
def content() -> Tensor:
    return waves(64, 96, 0.12)


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is too large for its whole state to be kept."""
    monkeypatch.setattr(resumption, "WHOLE", 0)


def painted(
    engine: Engine, content: Tensor, spec: Spec, steps: tuple[int, ...]
) -> tuple[Outcome, dict[int, Checkpoint]]:
    """An undisturbed run, and its checkpoints after these steps, through their bytes."""
    kept: dict[int, Checkpoint] = {}

    def keep(progress: Progress) -> None:
        if progress.step in steps:
            kept[progress.step] = Checkpoint.from_bytes(progress.checkpoint().to_bytes())

    return engine.stylize(content, STYLES, spec, keep), kept


@OPTIMIZERS
@pytest.mark.usefixtures("small_room")
def test_a_large_picture_taken_up_in_any_level_ends_within_two_percent(
    shipped: Engine, make_spec: MakeSpec, content: Tensor, optimizer: str
) -> None:
    spec = make_spec(size=128, pyramid=2, steps=120, optimizer=optimizer)
    whole, kept = painted(shipped, content, spec, (15, 45, 70, 96, 114))
    assert {checkpoint.level for checkpoint in kept.values()} == {0, 1}
    for step, checkpoint in kept.items():
        assert torch.bfloat16 in {part.dtype for part in checkpoint.optimizer.values()}
        resumed = shipped.stylize(content, STYLES, spec, resume=checkpoint)
        assert resumed.losses["total"] < 1.02 * whole.losses["total"], step


@OPTIMIZERS
@pytest.mark.usefixtures("small_room")
def test_a_large_picture_s_checkpoint_is_bounded_by_its_values(
    shipped: Engine, make_spec: MakeSpec, content: Tensor, optimizer: str
) -> None:
    _, kept = painted(shipped, content, make_spec(size=96, steps=20, optimizer=optimizer), (19,))
    a_value = len(kept[19].to_bytes()) / kept[19].image.numel()
    # Pictures, and half precision of what was learned; a little for the rest.
    assert a_value < 1.1 * (4 + 4 * lbfgs.EXPERIENCE if optimizer == "lbfgs" else 8 + 6)


@OPTIMIZERS
def test_a_small_picture_goes_on_to_the_last_digit(
    shipped: Engine, make_spec: MakeSpec, content: Tensor, optimizer: str
) -> None:
    spec = make_spec(size=128, pyramid=2, steps=16, optimizer=optimizer)
    whole, kept = painted(shipped, content, spec, (3, 7, 13, 16))
    for checkpoint in kept.values():
        resumed = shipped.stylize(content, STYLES, spec, resume=checkpoint)
        assert torch.equal(resumed.image, whole.image)
        assert resumed.losses == whole.losses


@pytest.mark.parametrize("room", [0, resumption.WHOLE])
@OPTIMIZERS
def test_the_best_picture_met_before_the_checkpoint_is_not_forgotten(
    shipped: Engine,
    make_spec: MakeSpec,
    content: Tensor,
    optimizer: str,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a run whose sixth evaluation was the best, and whose later ones are a little worse, but accepted
    monkeypatch.setattr(resumption, "WHOLE", room)
    evaluations = []
    evaluate = Objective.__call__

    def worse(self: Objective, x: Tensor) -> Evaluation:
        found = evaluate(self, x)
        evaluations.append(x.clone())
        if len(evaluations) > 5:
            best = 0.2 if len(evaluations) == 6 else 0.3
            found.terms[:, 0] = best
        return found

    monkeypatch.setattr(Objective, "__call__", worse)
    spec = make_spec(size=48, steps=9, optimizer=optimizer)
    whole, kept = painted(shipped, content, spec, (7,))
    assert kept[7].losses["total"] == pytest.approx(0.2)
    resumed = shipped.stylize(content, STYLES, spec, resume=kept[7])
    assert resumed.losses["total"] == pytest.approx(0.2)
    torch.testing.assert_close(resumed.image, whole.image)
    torch.testing.assert_close(resumed.image, evaluations[5][0].clamp(0, 1))


def test_a_checkpoint_that_lacks_part_of_its_state_is_refused(
    shipped: Engine, make_spec: MakeSpec, content: Tensor
) -> None:
    spec = make_spec(size=48, steps=9)
    _, kept = painted(shipped, content, spec, (7,))
    state = kept[7].optimizer
    for spoilt in (
        {name: part for name, part in state.items() if name != "pairs"},
        {name: part for name, part in state.items() if name != "gradient"},
        state | {"pairs": state["pairs"][:, 1:]},
        state | {"x": state["x"][1:]},
    ):
        with pytest.raises(CheckpointError, match="state"):
            shipped.stylize(content, STYLES, spec, resume=replace(kept[7], optimizer=spoilt))
    assert kept[7].best is None
    with pytest.raises(CheckpointError, match="size"):
        shipped.stylize(content, STYLES, spec, resume=replace(kept[7], best=kept[7].image[:, 1:]))


def test_in_a_batch_a_checkpoint_with_another_optimizer_s_state_costs_its_own_picture_only(
    shipped: Engine, make_spec: MakeSpec, content: Tensor
) -> None:
    spec = make_spec(size=48, steps=9)
    _, kept = painted(shipped, content, spec, (7,))
    _, alien = painted(shipped, content, make_spec(size=48, steps=9, optimizer="adam"), (7,))
    request = Request(content, STYLES, spec, resume=kept[7])
    spoilt = replace(request, resume=replace(kept[7], optimizer=alien[7].optimizer))
    results = shipped.stylize_batch([request, spoilt, request])
    assert isinstance(results[1], CheckpointError)
    assert all(isinstance(results[item], Outcome) for item in (0, 2))
    assert "lacks ages" in str(results[1])


def test_what_states_must_hold_is_what_they_hold() -> None:
    x = torch.rand(1, 3, 4, 5)
    for optimizer, parts in (
        (lbfgs.LBFGS(x.clone()), lbfgs.PARTS),
        (adam.Adam(x.clone()), adam.PARTS),
    ):
        for _ in range(3):
            optimizer.step(optimizer.x.square().flatten(1).sum(dim=1), 2 * optimizer.x)
        assert optimizer.experience(0).keys() == parts
        assert optimizer.state(0).keys() == parts | set(ACCEPTED)

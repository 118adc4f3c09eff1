"""Several pictures painted as one batch: each as if it were alone, whatever becomes of the others."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from tests.unit.engine.conftest import waves
from worker.engine import (
    Checkpoint,
    CheckpointError,
    DivergedError,
    Engine,
    Outcome,
    Progress,
    Stopped,
    Style,
)
from worker.engine.contract import Request
from worker.engine.objective import Evaluation, Objective

MakeSpec = Callable[..., Spec]
OPTIMIZERS = pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])


@pytest.fixture(scope="module")
def shipped() -> Engine:
    """On the shipped weights, where the last digit's difference of a batch's sums stays small."""
    return Engine(device="cpu", dtype="float32")


@pytest.fixture
def requests(make_spec: MakeSpec) -> list[Request]:
    """Three pictures of one size with their own styles, weights and masks."""
    mask, region = torch.zeros(8, 8), torch.zeros(6, 8)
    mask[:4], region[:, :4] = 1, 1
    return [
        Request(waves(48, 64, 0.15), [Style(waves(56, 56, 0.9))], make_spec(steps=12)),
        Request(
            waves(48, 64, 0.3).flip(0),
            [Style(waves(40, 60, 0.5), region=region), Style(waves(56, 56, 0.9), region=1 - region)],
            make_spec(steps=12, style_weight=30, tv_weight=2),
        ),
        Request(
            waves(96, 128, 0.1).flip(2),
            [Style(waves(40, 60, 0.5), mask=mask), Style(waves(64, 30, 0.7), 0.5)],
            make_spec(steps=12, init="noise", seed=4, color="content", photorealism=10),
        ),
    ]


def outcomes(results: list[Outcome | Exception]) -> list[Outcome]:
    for result in results:
        if isinstance(result, Exception):
            raise result
    return [result for result in results if isinstance(result, Outcome)]


def alike(requests: list[Request], **fields: object) -> list[Request]:
    return [replace(one, spec=one.spec.model_copy(update=fields)) for one in requests]


@pytest.mark.parametrize(("optimizer", "steps"), [("lbfgs", 7), ("adam", 12)])
def test_each_picture_comes_out_as_it_does_alone(
    shipped: Engine, requests: list[Request], optimizer: str, steps: int
) -> None:
    # A batch's sums are ordered otherwise, and L-BFGS makes up to ten times the difference of it a step.
    requests = alike(requests, optimizer=optimizer, steps=steps)
    together = outcomes(shipped.stylize_batch(requests))
    for request, one in zip(requests, together, strict=True):
        alone = shipped.stylize(request.content, request.styles, request.spec)
        assert one.losses == pytest.approx(alone.losses, rel=1e-3, abs=1e-6)
        torch.testing.assert_close(one.image, alone.image, rtol=0, atol=2e-2)
        assert (one.batch, alone.batch) == (3, 1)
        assert one.evaluations == alone.evaluations == steps


def test_through_a_pyramid_too(shipped: Engine, requests: list[Request]) -> None:
    requests = alike(requests, size=128, pyramid=2, optimizer="adam", steps=8)
    together = outcomes(shipped.stylize_batch(requests))
    for request, one in zip(requests, together, strict=True):
        alone = shipped.stylize(request.content, request.styles, request.spec)
        assert one.losses["total"] == pytest.approx(alone.losses["total"], rel=1e-3)
        torch.testing.assert_close(one.image, alone.image, rtol=0, atol=2e-2)


def test_each_caller_is_told_of_its_own_picture(shipped: Engine, requests: list[Request]) -> None:
    seen: list[list[tuple[int, float, Tensor]]] = [[], [], []]

    def teller(item: int) -> Callable[[Progress], None]:
        return lambda p: seen[item].append((p.step, p.losses["total"], p.image()))

    told = [replace(one, on_progress=teller(item)) for item, one in enumerate(requests)]
    results = outcomes(shipped.stylize_batch([told[0], replace(told[1], on_progress=None), told[2]]))
    assert seen[1] == []
    for item in (0, 2):
        assert [step for step, _, _ in seen[item]] == list(range(1, 13))
        assert min(total for _, total, _ in seen[item]) == pytest.approx(results[item].losses["total"])
        torch.testing.assert_close(seen[item][-1][2], results[item].image)


@OPTIMIZERS
def test_one_that_is_stopped_leaves_the_others_as_they_were(
    shipped: Engine, requests: list[Request], optimizer: str
) -> None:
    requests = alike(requests, optimizer=optimizer, steps=8)
    whole = outcomes(shipped.stylize_batch(requests))
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 6

    results = shipped.stylize_batch([requests[0], replace(requests[1], should_stop=stop), requests[2]])
    stopped = results[1]
    assert isinstance(stopped, Stopped)
    assert stopped.checkpoint.step == 5
    for item in (0, 2):
        result = results[item]
        assert isinstance(result, Outcome)
        torch.testing.assert_close(result.image, whole[item].image, rtol=0, atol=2e-3)
    # What was stopped can be taken up alone.
    resumed = shipped.stylize(
        requests[1].content, requests[1].styles, requests[1].spec, resume=stopped.checkpoint
    )
    torch.testing.assert_close(resumed.image, whole[1].image, rtol=0, atol=2e-3)


def test_when_all_are_stopped_the_batch_ends(shipped: Engine, requests: list[Request]) -> None:
    steps: list[int] = []
    stopping = [
        replace(
            one, on_progress=lambda p: steps.append(p.step), should_stop=lambda: max(steps, default=0) > 2
        )
        for one in requests
    ]
    results = shipped.stylize_batch(stopping)
    assert all(isinstance(result, Stopped) and result.checkpoint.step == 3 for result in results)
    assert max(steps) == 3


@OPTIMIZERS
@pytest.mark.parametrize("victim", [0, 2])
def test_one_that_goes_nan_leaves_the_others_as_they_were(
    shipped: Engine,
    requests: list[Request],
    monkeypatch: pytest.MonkeyPatch,
    optimizer: str,
    victim: int,
) -> None:
    requests = alike(requests, optimizer=optimizer)
    whole = outcomes(shipped.stylize_batch(requests))
    evaluations = []
    evaluate = Objective.__call__

    def spoilt(self: Objective, x: Tensor) -> Evaluation:
        found = evaluate(self, x)
        evaluations.append(len(x))
        if len(evaluations) > 4 and len(x) == 3:
            found.terms[victim] = torch.nan
            found.gradient[victim] = torch.nan
        return found

    monkeypatch.setattr(Objective, "__call__", spoilt)
    results = shipped.stylize_batch(requests)
    assert isinstance(results[victim], DivergedError)
    # Four good evaluations, three in vain, and the rest without it.
    assert evaluations == [3] * 7 + [2] * 5
    for item in {0, 1, 2} - {victim}:
        result = results[item]
        assert isinstance(result, Outcome)
        torch.testing.assert_close(result.image, whole[item].image, rtol=0, atol=2e-3)


def test_one_bad_evaluation_costs_only_its_own_picture_a_step(
    shipped: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = outcomes(shipped.stylize_batch(requests))
    evaluations = []
    evaluate = Objective.__call__

    def spoilt(self: Objective, x: Tensor) -> Evaluation:
        found = evaluate(self, x)
        evaluations.append(len(x))
        if len(evaluations) == 5:
            found.terms[1] = torch.nan
            found.gradient[1] = torch.nan
        return found

    monkeypatch.setattr(Objective, "__call__", spoilt)
    results = outcomes(shipped.stylize_batch(requests))
    assert torch.equal(results[0].image, whole[0].image)
    assert torch.equal(results[2].image, whole[2].image)
    assert not torch.equal(results[1].image, whole[1].image)
    assert results[1].losses["total"] < 1.5 * whole[1].losses["total"]


@OPTIMIZERS
@pytest.mark.parametrize("step", [5, 7, 12])
def test_a_batch_resumed_where_it_stood_is_the_undisturbed_batch(
    shipped: Engine, requests: list[Request], optimizer: str, step: int
) -> None:
    requests = alike(requests, size=128, pyramid=2, optimizer=optimizer)
    kept: dict[int, bytes] = {}

    def keeper(item: int) -> Callable[[Progress], None]:
        return lambda p: kept.update({item: p.checkpoint().to_bytes()}) if p.step == step else None

    whole = outcomes(
        shipped.stylize_batch([replace(r, on_progress=keeper(i)) for i, r in enumerate(requests)])
    )
    resumed = outcomes(
        shipped.stylize_batch(
            [replace(r, resume=Checkpoint.from_bytes(kept[i])) for i, r in enumerate(requests)]
        )
    )
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.image, other.image)
        assert other.losses["total"] == pytest.approx(one.losses["total"], rel=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 48},
        {"steps": 13},
        {"pyramid": 2},
        {"optimizer": "adam"},
        {"weighting": "paper"},
        {"style_loss": "gram"},
        {"pooling": "max"},
        {"style_layers": {"conv1_1": 1.0}},
        {"content_layers": {"conv3_1": 1.0}},
    ],
    ids=str,
)
def test_requests_that_do_not_agree_are_refused(
    shipped: Engine, requests: list[Request], fields: dict[str, object]
) -> None:
    other = replace(requests[1], spec=requests[1].spec.model_copy(update=fields))
    with pytest.raises(ValueError, match="differ"):
        shipped.stylize_batch([requests[0], other])


def test_requests_of_another_shape_or_step_are_refused(shipped: Engine, requests: list[Request]) -> None:
    with pytest.raises(ValueError, match="differ"):
        shipped.stylize_batch([requests[0], replace(requests[1], content=waves(64, 64, 0.3))])
    resume = Checkpoint("any", 3, 0, torch.zeros(3, 48, 64))
    with pytest.raises(ValueError, match="differ"):
        shipped.stylize_batch([requests[0], replace(requests[1], resume=resume)])


def test_a_refused_batch_is_told_what_differs(shipped: Engine, requests: list[Request]) -> None:
    other = requests[1].spec.model_copy(update={"steps": 9, "optimizer": "adam"})
    with pytest.raises(ValueError, match=r"share: steps, optimizer$"):
        shipped.stylize_batch([requests[0], replace(requests[1], spec=other)])


def test_pictures_of_one_size_at_the_end_have_one_size_all_the_way(
    shipped: Engine, make_spec: MakeSpec
) -> None:
    # Given two that would be of 128 x 85 and 128 x 86 at the first level, going by themselves
    spec = make_spec(size=512, steps=3, pyramid=3)
    styles = [Style(waves(40, 60, 0.5))]
    pair = [Request(waves(height, 1500, 0.1), styles, spec) for height in (1001, 1003)]
    kept: list[Checkpoint] = []
    shipped.stylize_batch(
        [replace(one, on_progress=lambda told: kept.append(told.checkpoint())) for one in pair]
    )
    ways = [checkpoint for checkpoint in kept if checkpoint.step == 1]
    assert [tuple(one.image.shape) for one in ways] == [(3, 86, 128), (3, 86, 128)]
    resumed = shipped.stylize_batch(
        [replace(one, resume=checkpoint) for one, checkpoint in zip(pair, ways, strict=True)]
    )
    assert [one.image.shape for one in outcomes(resumed)] == [(3, 342, 512)] * 2


def test_an_unsound_request_gets_its_error_in_its_place(shipped: Engine, requests: list[Request]) -> None:
    requests = alike(requests, steps=3)
    spoilt = requests[1].content.clone()
    spoilt[0, 0, 0] = torch.nan
    results = shipped.stylize_batch(
        [requests[0], replace(requests[1], content=spoilt), replace(requests[2], styles=[]), requests[2]]
    )
    assert isinstance(results[1], ValueError)
    assert isinstance(results[2], ValueError)
    for item, request in ((0, requests[0]), (3, requests[2])):
        result = results[item]
        assert isinstance(result, Outcome)
        assert result.batch == 2
        alone = shipped.stylize(request.content, request.styles, request.spec)
        torch.testing.assert_close(result.image, alone.image, rtol=0, atol=2e-3)


def test_a_checkpoint_of_another_painting_is_refused_for_its_own_picture_alone(
    shipped: Engine, requests: list[Request]
) -> None:
    kept: list[Checkpoint] = []
    requests = alike(requests, steps=4)
    for request in requests[:2]:
        shipped.stylize(
            request.content,
            request.styles,
            request.spec,
            lambda p: kept.append(p.checkpoint()) if p.step == 2 else None,
        )
    results = shipped.stylize_batch(
        [replace(requests[0], resume=kept[1]), replace(requests[1], resume=kept[1])]
    )
    assert isinstance(results[0], CheckpointError)
    assert isinstance(results[1], Outcome)


def test_no_requests_give_no_results(shipped: Engine) -> None:
    assert shipped.stylize_batch([]) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_batch_paints_the_same_bytes(requests: list[Request], dtype: str) -> None:
    if dtype == "bfloat16" and Engine(device="cpu").dtype != dtype:
        pytest.skip("this processor has no bfloat16")
    first, second = (
        outcomes(Engine(device="cpu", dtype=dtype).stylize_batch(alike(requests, steps=6))) for _ in range(2)
    )
    assert first[0].dtype == dtype
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.image, other.image)


def test_small_pictures_gain_by_company_and_large_ones_do_not(weights_dir: Path, make_spec: MakeSpec) -> None:
    engine = Engine(weights_dir, device="cpu")
    assert engine.capacity(make_spec(), 48, 64) > 1
    assert engine.capacity(make_spec(size=1024), 1024, 1024) == 1

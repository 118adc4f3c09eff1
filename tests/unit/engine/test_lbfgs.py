"""L-BFGS: torch's steps, its memory, and what it does where the curvature misleads."""

import math

import pytest
import torch
from torch import Tensor

from tests.support.descent import Function, bowl, descend, evaluate, hills, start, valley
from worker.engine import lbfgs
from worker.engine.lbfgs import DAMPING, LBFGS, MOST_MOVE


@pytest.mark.parametrize("function", [bowl, valley])
@pytest.mark.parametrize("history", [4, 10])
def test_steps_are_those_of_torch_with_one_evaluation_each(
    monkeypatch: pytest.MonkeyPatch, function: Function, history: int
) -> None:
    # But for the first one, whose length is ours: torch's is 1 in the gradient's L1 norm.
    monkeypatch.setattr(lbfgs, "FIRST_STEP", 1 / start()[0].numel())
    theirs = start().requires_grad_()
    reference = torch.optim.LBFGS([theirs], max_iter=1, history_size=history)

    def closure() -> Tensor:
        reference.zero_grad()
        loss = function(theirs).sum()
        loss.backward()
        return loss

    ours = LBFGS(start(), history=history)
    for _ in range(18):
        reference.step(closure)
        ours.step(*evaluate(function, ours.x))
        torch.testing.assert_close(ours.x, theirs.detach(), rtol=1e-4, atol=2e-5)


def test_it_gets_as_low_as_torch_s_does() -> None:
    theirs = start().requires_grad_()
    reference = torch.optim.LBFGS([theirs], max_iter=1, history_size=10)

    def closure() -> Tensor:
        reference.zero_grad()
        loss = valley(theirs).sum()
        loss.backward()
        return loss

    for _ in range(60):
        reference.step(closure)
    ours = descend(LBFGS(start()), valley, 60)[-1]
    assert float(valley(ours)) < 1.2 * float(valley(theirs.detach())) + 1e-8


@pytest.mark.parametrize("length", [16, 20, 60])
def test_products_in_slices_are_the_products(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    # Given pictures of 60 values: slices and a rest, slices only, one slice
    plain = descend(LBFGS(start(2)), valley, 18)
    monkeypatch.setattr(lbfgs, "SLICE", length)
    sliced = descend(LBFGS(start(2)), valley, 18)
    for one, other in zip(sliced, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("length", [2**14, 16])
def test_a_picture_takes_the_same_steps_alone_and_in_company(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr(lbfgs, "SLICE", length)
    together, alone = LBFGS(start(3)), [LBFGS(start(3)[item : item + 1]) for item in range(3)]
    for _ in range(14):
        losses, gradient = evaluate(valley, together.x)
        together.step(losses, gradient)
        for item, one in enumerate(alone):
            one.step(losses[item : item + 1], gradient[item : item + 1])
            assert torch.equal(one.x[0], together.x[item])


@pytest.mark.parametrize("bad", [math.nan, 1000.0])
def test_a_blow_up_is_undone_for_the_most_part(bad: float) -> None:
    optimizer = LBFGS(start())
    descend(optimizer, valley, 5)
    before = optimizer.x.clone()
    loss, gradient = evaluate(valley, before)
    optimizer.step(loss, gradient)
    beyond = optimizer.x.clone()
    optimizer.step(bad * loss, gradient)
    torch.testing.assert_close(optimizer.x, before + DAMPING * (beyond - before))
    # A second one goes back further along the same line.
    optimizer.step(bad * loss, gradient)
    torch.testing.assert_close(optimizer.x, before + DAMPING**2 * (beyond - before))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("step", [0, 4])
def test_a_gradient_too_large_to_be_squared_is_a_blow_up_of_its_picture_alone(
    dtype: torch.dtype, step: int
) -> None:
    quiet, struck = (LBFGS(start(2), dtype=dtype) for _ in range(2))
    for number in range(8):
        quiet.step(*evaluate(valley, quiet.x))
        losses, gradient = evaluate(valley, struck.x)
        if number == step:
            gradient[0] = 3e19
        struck.step(losses, gradient)
        assert struck.rejections.tolist() == [number == step, 0]
        assert torch.equal(quiet.x[1], struck.x[1])
        assert bool(torch.isfinite(struck.x).all())


@pytest.mark.parametrize("length", [1000, 8 * lbfgs.CHUNK])
def test_the_newest_pair_s_products_are_exact_to_single_precision(length: int) -> None:
    optimizer = LBFGS(torch.zeros(1, 1, 1, length), history=2, dtype=torch.bfloat16)
    move, change = torch.rand(2, 1, length, generator=torch.Generator().manual_seed(0))
    found = optimizer._own_products(move, change)[0]
    exact = torch.stack([(one.double() * change.double()).sum() for one in (move, change)])
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=0)


def test_after_a_blow_up_the_memory_that_misled_is_gone() -> None:
    optimizer = LBFGS(start())
    descend(optimizer, valley, 6)
    assert len(optimizer.state(0)["ages"]) == 5
    optimizer.step(torch.tensor([math.nan]), torch.zeros_like(optimizer.x))
    assert len(optimizer.state(0)["ages"]) == 0


def test_where_the_curvature_is_negative_it_does_not_stall() -> None:
    # Given hills whose tops are nearly flat: torch's own falls asleep there.
    optimizer = LBFGS(torch.full((1, 3, 4, 5), 1e-4))
    met = descend(optimizer, hills, 60)
    assert float(hills(met[-1])) < 0.01 * float(hills(met[0]))


def test_no_step_moves_a_colour_by_more_than_the_range_of_colours() -> None:
    # Given one picture on a slope that hardly changes, so that the step to its floor is long, and one that
    # has the floor near by
    def slope(x: Tensor) -> Tensor:
        d = x.flatten(1)
        return torch.stack(((d[0] - 50).square().sum() * 1e-3, (d[1] - 0.5).square().sum()))

    optimizer, before = LBFGS(start(2)), start(2)
    steps = []
    for x in descend(optimizer, slope, 12):
        steps.append((x - before).abs().amax(dim=(1, 2, 3)))
        before = x
    assert max(float(step[0]) for step in steps) == pytest.approx(MOST_MOVE, rel=1e-5)
    assert float(before[0].mean()) > 8
    torch.testing.assert_close(before[1], torch.full((3, 4, 5), 0.5))


@pytest.mark.parametrize("chunk", [2**20, 7])
def test_a_memory_in_half_precision_serves_nearly_as_well(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(lbfgs, "CHUNK", chunk)
    full = descend(LBFGS(start(2)), valley, 40)[-1]
    half = descend(LBFGS(start(2), dtype=torch.bfloat16), valley, 40)[-1]
    before = valley(start(2))
    assert bool((valley(full) < 1e-4 * before).all())
    assert bool((valley(half) < 1e-3 * before).all())


def test_experience_is_the_newest_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lbfgs, "EXPERIENCE", 3)
    optimizer = LBFGS(start(), history=6)
    met = [optimizer.x.clone(), *descend(optimizer, valley, 9)]
    state = optimizer.experience(0)
    assert state["ages"].tolist() == [0, 1, 2]
    steps, _ = state["pairs"].chunk(2)
    # The last picture is not evaluated yet, so the newest step led to the one before it.
    for age, step in enumerate(steps):
        expected = (met[8 - age] - met[7 - age]).flatten().bfloat16()
        torch.testing.assert_close(step, expected, rtol=1e-2, atol=1e-6)


def test_the_step_that_follows_experience_is_nearly_the_undisturbed_one() -> None:
    first = LBFGS(start(), history=lbfgs.EXPERIENCE)
    descend(first, valley, 12)
    # The evaluation that is made once more takes a place in the ring and leaves no pair.
    second = LBFGS(first.accepted.clone(), history=lbfgs.EXPERIENCE + 1)
    second.restore([first.experience(0)])
    expected = first.x - first.accepted
    (found,) = descend(second, valley, 1)
    assert float((found - first.x).norm()) < 0.15 * float(expected.norm())


def test_more_experience_gets_further(monkeypatch: pytest.MonkeyPatch) -> None:
    first = LBFGS(start())
    descend(first, valley, 12)
    results = {}
    for pairs in (0, 3, 10):
        monkeypatch.setattr(lbfgs, "EXPERIENCE", pairs)
        second = LBFGS(first.accepted.clone())
        second.restore([first.experience(0)])
        results[pairs] = float(valley(descend(second, valley, 4)[-1]))
    assert results[10] <= results[3] < results[0]


def test_a_state_fits_into_a_shorter_memory() -> None:
    first = LBFGS(start(), history=10)
    descend(first, valley, 12)
    second = LBFGS(first.x.clone(), history=4)
    second.restore([first.state(0)])
    assert second.state(0)["ages"].tolist() == [0, 1, 2, 3]
    assert torch.equal(second.state(0)["pairs"], first.state(0)["pairs"][[0, 1, 2, 3, 10, 11, 12, 13]])
    # The next pair takes the oldest one's place, so that three of the four are left.
    reference = LBFGS(first.x.clone(), history=10)
    state = first.state(0)
    young = {"ages": state["ages"][:3], **{k: state[k][:3, :3] for k in ("sy", "yy")}}
    halves = {k: torch.cat([half[:3] for half in state[k].chunk(2)]) for k in ("pairs", "products")}
    reference.restore([state | young | halves])
    torch.testing.assert_close(descend(second, valley, 1)[0], descend(reference, valley, 1)[0])


def test_pictures_of_another_memory_format_are_no_trouble() -> None:
    optimizer = LBFGS(start())
    plain = descend(optimizer, valley, 8)[-1]
    other = LBFGS(start())
    for _ in range(8):
        losses, gradient = evaluate(valley, other.x)
        other.step(losses, gradient.contiguous(memory_format=torch.channels_last))
    assert torch.equal(plain, other.x)

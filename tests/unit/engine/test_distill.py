"""Distillation: a small student learns, a stopped run goes on, the export is the student."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from worker.engine.distill.__main__ import main
from worker.engine.distill.data import batch, load_pictures
from worker.engine.distill.export import rescaled_state
from worker.engine.distill.joint import AllTogether
from worker.engine.distill.layerwise import LayerByLayer
from worker.engine.distill.teacher import CollaborativeEncoder, load_teacher
from worker.engine.distill.train import Plan, fresh, held_out_errors, learner_for, train
from worker.engine.vgg import LAYOUTS, VGG

NARROW = ((4, 4), (6,))
WIDE = ((5, 7), (9,))
PLAN = Plan(steps=130, crop=16, batch=4, seed=5)
ADAMS_PLAN = Plan(steps=130, crop=16, batch=4, seed=5, lr=2e-2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty smooth random pictures; by their hashes some of them are held out."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    random = np.random.default_rng(0)
    for index in range(20):
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((48, 36), Image.Resampling.BICUBIC).save(pictures / f"{index:02}.png")
    return pictures


def seeded(widths: tuple[tuple[int, ...], ...], seed: int = 1) -> VGG:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = VGG(widths)
    for name in network.convolutions:
        network.get_parameter(f"{name}.bias").data.normal_(generator=torch.Generator().manual_seed(seed))
    return network.requires_grad_(requires_grad=False)


def run(
    folder: Path, teacher: VGG, checkpoint: Path, plan: Plan = PLAN, **limits: float
) -> dict[str, torch.Tensor]:
    """Train the narrow student; its final state."""
    pictures = load_pictures(folder, plan.crop)
    distillation = fresh(VGG(NARROW), teacher, pictures, plan)
    train(distillation, teacher, pictures, plan, checkpoint, lambda *_: None, **limits)
    return dict(distillation.state_dict())


@pytest.mark.parametrize(
    ("widths", "plan"),
    [(NARROW, PLAN), (WIDE, ADAMS_PLAN)],
    ids=["teacher of the same widths", "teacher of other widths"],
)
def test_training_lowers_the_error_on_pictures_never_trained_on(
    folder: Path, tmp_path: Path, widths: tuple[tuple[int, ...], ...], plan: Plan
) -> None:
    teacher = seeded(widths)
    pictures = load_pictures(folder, plan.crop)
    distillation = fresh(VGG(NARROW), teacher, pictures, plan)
    before = held_out_errors(distillation, teacher, pictures.held_out, plan)
    reports: list[int] = []
    finished = train(
        distillation,
        teacher,
        pictures,
        plan,
        tmp_path / "checkpoint.pt",
        lambda step, _: reports.append(step),
        report_every=50,
    )
    after = held_out_errors(distillation, teacher, pictures.held_out, plan)
    assert finished
    assert reports == [50, 100, 130]
    assert list(after) == ["conv1_1", "conv1_2", "conv2_1"]
    for layer in after:
        assert after[layer] < before[layer] / 2


@pytest.mark.parametrize("widths", [NARROW, WIDE], ids=["layer by layer", "all together"])
def test_a_run_that_was_stopped_ends_in_the_same_weights_as_one_that_was_not(
    folder: Path, tmp_path: Path, widths: tuple[tuple[int, ...], ...]
) -> None:
    teacher = seeded(widths)
    plan = Plan(steps=45, crop=16, batch=2, seed=5)
    straight = run(folder, teacher, tmp_path / "straight.pt", plan)
    # Given a run whose time is up after its first step, and again after its second
    stopped = tmp_path / "stopped.pt"
    run(folder, teacher, stopped, plan, time_limit=-1)
    run(folder, teacher, stopped, plan, time_limit=-1)
    assert torch.load(stopped, weights_only=True)["done"] == 2
    # I expect a third to go on from there to the bit
    resumed = run(folder, teacher, stopped, plan)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_another_seed_gives_other_weights(folder: Path, tmp_path: Path) -> None:
    plan = Plan(steps=1, crop=16, batch=2, seed=6)
    one = run(folder, seeded(NARROW), tmp_path / "one.pt", plan)
    other = run(folder, seeded(NARROW), tmp_path / "other.pt", Plan(steps=1, crop=16, batch=2, seed=7))
    assert not torch.equal(one["student.conv1_1.weight"], other["student.conv1_1.weight"])


def test_a_checkpoint_of_other_crops_is_refused(folder: Path, tmp_path: Path) -> None:
    run(folder, seeded(NARROW), tmp_path / "checkpoint.pt", time_limit=-1)
    with pytest.raises(ValueError, match="batch 4, not 3"):
        run(folder, seeded(NARROW), tmp_path / "checkpoint.pt", Plan(steps=130, crop=16, batch=3, seed=5))


def test_adams_rate_warms_up_and_ends_at_zero() -> None:
    adam = AllTogether([torch.nn.Parameter(torch.zeros(1))], ("conv1_1",), 1000, 0.1)
    rates = [adam.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.1 / 50)
    assert 0.09 < max(rates) <= 0.1
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] < 1e-5


def test_layers_learn_one_after_another_where_the_widths_agree_and_together_where_not(folder: Path) -> None:
    pictures = load_pictures(folder, PLAN.crop)
    same = learner_for(fresh(VGG(NARROW), seeded(NARROW), pictures, PLAN), PLAN)
    assert isinstance(same, LayerByLayer)
    assert [len(same.learning(step)) for step in (0, 39, 40, 80, 1000)] == [1, 1, 2, 3, 3]
    other = learner_for(fresh(VGG(NARROW), seeded(WIDE), pictures, PLAN), PLAN)
    assert other.learning(0) == ("conv1_1", "conv1_2", "conv2_1")


def test_a_whole_newton_step_solves_a_layer_whose_inputs_are_known(folder: Path) -> None:
    # Given a first layer that has seen many patches, and one large batch
    teacher, pictures = seeded(NARROW), load_pictures(folder, PLAN.crop)
    distillation = fresh(VGG(NARROW), teacher, pictures, PLAN)
    moment = LayerByLayer(distillation.student, distillation.layers, 60, None).moments["conv1_1"]
    error = distillation.errors(batch(pictures.training, 64, 16, 1, 1), teacher, ("conv1_1",))["conv1_1"]
    error.backward()
    moment.look()
    moment.step(share=1.0)
    # I expect nearly all of the error gone: the problem is linear, only the damping is in the way
    after = distillation.errors(batch(pictures.training, 64, 16, 1, 1), teacher, ("conv1_1",))["conv1_1"]
    assert after.item() < 0.05 * error.item()


def test_held_out_pictures_are_never_trained_on_whatever_their_names(folder: Path) -> None:
    def hashes(pictures: list) -> set[str]:
        return {hashlib.sha256(p.versions[0].numpy().tobytes()).hexdigest() for p in pictures}

    first = load_pictures(folder, 16)
    for path in list(folder.iterdir()):
        path.rename(path.with_name("again-" + path.name))
    again = load_pictures(folder, 16)
    assert hashes(first.held_out) == hashes(again.held_out)
    assert not hashes(first.held_out) & hashes(first.training)


def test_what_is_no_picture_or_too_small_is_passed_over(folder: Path) -> None:
    (folder / "text.jpg").write_text("no picture")
    Image.new("RGB", (200, 10)).save(folder / "strip.png")
    pictures = load_pictures(folder, 16)
    assert len(pictures.training) + len(pictures.held_out) == 20


def test_a_folder_without_enough_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 pictures to train on"):
        load_pictures(tmp_path, 16)


def test_crops_follow_from_seed_and_step_alone(folder: Path) -> None:
    pictures = load_pictures(folder, 16).training
    assert torch.equal(batch(pictures, 4, 16, 1, 2), batch(pictures, 4, 16, 1, 2))
    assert not torch.equal(batch(pictures, 4, 16, 1, 2), batch(pictures, 4, 16, 1, 3))
    assert not torch.equal(batch(pictures, 4, 16, 1, 2), batch(pictures, 4, 16, 2, 2))


def test_putting_the_teachers_proportions_back_only_rescales_channels(folder: Path) -> None:
    teacher = seeded(NARROW)
    distillation = fresh(VGG(NARROW), teacher, load_pictures(folder, 16), PLAN)
    exported = VGG(NARROW)
    exported.load_state_dict(rescaled_state(distillation))
    x = torch.rand(1, 3, 20, 20)
    trained = distillation.student(x, ["relu1_2", "relu2_1"])
    for layer, features in exported(x, ["relu1_2", "relu2_1"]).items():
        scale = distillation.scale(layer.replace("relu", "conv"))
        torch.testing.assert_close(features, trained[layer] * (scale / scale.mean()).view(1, -1, 1, 1))


def collaborative_state() -> dict[str, torch.Tensor]:
    """A tiny file in the layout of Collaborative Distillation's encoders."""
    shapes = {
        "conv0": (3, 3, 1),
        "conv11": (4, 3, 3),
        "conv12": (4, 4, 3),
        "conv21": (6, 4, 3),
        "conv11_aux": (8, 4, 1),
    }
    state = {f"{name}.weight": torch.rand(o, i, k, k) - 0.5 for name, (o, i, k) in shapes.items()}
    return state | {f"{name}.bias": torch.rand(o) - 0.5 for name, (o, _, _) in shapes.items()}


def test_a_collaborative_distillation_encoder_is_recognised(tmp_path: Path) -> None:
    state = collaborative_state()
    torch.save({"epoch": 20, "model": state}, tmp_path / "encoder.pth")
    teacher = load_teacher(tmp_path / "encoder.pth")
    assert isinstance(teacher, CollaborativeEncoder)
    assert teacher.convolutions == ("conv1_1", "conv1_2", "conv2_1")
    # Its own colours come before its first convolution.
    x = torch.rand(1, 3, 8, 8)
    colours = torch.nn.functional.conv2d(x, state["conv0.weight"], state["conv0.bias"])
    padded = torch.nn.functional.pad(colours, (1, 1, 1, 1), mode="replicate")
    first = torch.nn.functional.conv2d(padded, state["conv11.weight"], state["conv11.bias"])
    torch.testing.assert_close(teacher(x, ["conv1_1"])["conv1_1"], first)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_vgg19_is_recognised_from_a_local_file(tmp_path: Path, suffix: str) -> None:
    state, index, inputs = {}, 0, 3
    for block in LAYOUTS["vgg19"]:
        for width in block:
            state[f"features.{index}.weight"] = torch.zeros(width, inputs, 3, 3)
            state[f"features.{index}.bias"] = torch.zeros(width)
            index, inputs = index + 2, width
        index += 1
    path = tmp_path / f"teacher{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    teacher = load_teacher(path)
    assert isinstance(teacher, VGG)
    assert teacher.widths == LAYOUTS["vgg19"]
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="neither a VGG"):
        load_teacher(tmp_path / "other.pth")


def test_the_command_writes_weights_that_their_json_describes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYOUTS, "compact", NARROW)
    torch.save({"epoch": 20, "model": collaborative_state()}, tmp_path / "encoder.pth")
    out = tmp_path / "student.safetensors"
    command = ["--teacher", str(tmp_path / "encoder.pth"), "--images", str(folder), "--out", str(out)]
    command += ["--steps", "3", "--crop", "16", "--batch", "2", "--threads", "1"]
    # Stopped by the clock after one step, then taken up again
    assert main([*command, "--time-limit", "0"]) == 3
    with pytest.raises(SystemExit):
        main(command)
    assert main([*command, "--resume"]) == 0

    card = json.loads(out.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert card["training"]["steps_done"] == 3
    assert (
        card["training"]["teacher_sha256"]
        == hashlib.sha256((tmp_path / "encoder.pth").read_bytes()).hexdigest()
    )
    assert all(math.isfinite(error) for error in card["held_out_error"].values())
    state = load_file(out)
    # Once more: nothing is left to learn, the same weights are written
    assert main([*command, "--resume"]) == 0
    assert json.loads(out.with_suffix(".json").read_text()) == card
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    VGG(tuple(tuple(block) for block in card["widths"]), padding=card["padding"]).load_state_dict(state)

"""Painting without a service: the command around the real engine, with random weights made here."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from client.cli import main
from worker.engine.vgg import LAYOUTS, VGG


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Random weights for `compact`, in a folder of their own."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # tiny pictures: threads would only wait for each other
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(VGG(LAYOUTS["compact"]).state_dict(), folder / "compact.safetensors")
    return folder


def stylize(weights: Path, *arguments: str | Path) -> Result:
    options = ("--weights-dir", weights, "--device=cpu", "--size=32", "--steps=2", "--pyramid=1")
    return CliRunner().invoke(main, ["stylize", *map(str, (*options, *arguments))])


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG")])
def test_a_picture_is_painted_in_the_format_of_its_name(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path, name: str, kind: str
) -> None:
    done = stylize(weights, *pictures, pictures[0], "--mix=1,0.5", "-o", tmp_path / name)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / name}\n"), done.stderr
    assert "32 x 24 in" in done.stderr
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.size) == (kind, (32, 24))


def test_a_file_that_cannot_be_written_or_is_called_otherwise_is_told_before_painting(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    for name, format_, says in (
        ("none/a.png", (), f"there is no folder {tmp_path / 'none'}"),
        ("weights", (), "is a folder"),
        ("a.jpg", ("--output-format=png",), "a.jpg is called like a file of the format jpeg"),
    ):
        done = stylize(weights, *pictures, "-o", tmp_path / name, *format_)
        assert done.exit_code == 2
        assert says in done.stderr
        assert not (tmp_path / "a.jpg").exists()


def test_the_options_reach_the_engine(weights: Path, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("a.png", "--seed=1"), ("b.png", "--seed=2")):
        assert stylize(weights, *pictures, "--init=noise", seed, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_without_the_weights_it_says_what_to_run(weights: Path, pictures: tuple[Path, Path]) -> None:
    done = stylize(weights, *pictures, "-o", "a.png", "--backbone=vgg16")
    assert done.exit_code == 1
    assert "impasto weights fetch vgg16" in done.stderr


def test_fetched_weights_are_what_the_engine_loads_and_damage_is_noticed(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    torch.save(VGG(((4,) * 2,)).state_dict(), tmp_path / "small.pth")
    fetched = CliRunner().invoke(
        main, ["weights", "fetch", "vgg19", "--dir", str(weights), "--from", str(tmp_path / "small.pth")]
    )
    assert fetched.exit_code == 0, fetched.stderr
    paint = (*pictures, "-o", tmp_path / "a.png", "--backbone=vgg19")
    too_small = stylize(weights, *paint)
    assert too_small.exit_code == 1
    assert "vgg19.pth lacks" in too_small.stderr
    with (weights / "vgg19.pth").open("ab") as file:
        file.write(b"!")
    damaged = stylize(weights, *paint)
    assert damaged.exit_code == 1
    assert "fetch it again" in damaged.stderr


def test_a_device_that_is_not_there_is_an_error_without_a_traceback(
    weights: Path, pictures: tuple[Path, Path]
) -> None:
    done = stylize(weights, *pictures, "-o", "a.png", "--device=tape")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (1, "impasto: 'tape' is no device name")


def test_a_file_that_is_no_picture_is_named(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    done = stylize(weights, pictures[0], tmp_path / "text.jpg", "-o", tmp_path / "a.png")
    assert done.exit_code == 1
    assert "text.jpg cannot be read as a picture" in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_the_start_and_the_masks_are_read_for_the_engine(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    Image.new("RGB", (24, 18), "red").save(tmp_path / "start.png")
    Image.new("L", (8, 8), 200).save(tmp_path / "grey.png")
    beside = ("--mask", tmp_path / "grey.png", "--region", tmp_path / "grey.png")
    start = ("--init", tmp_path / "start.png", "--steps=1")
    done = stylize(weights, *pictures, *beside, *start, "-o", tmp_path / "a.png")
    assert done.exit_code == 0, done.stderr
    with Image.open(tmp_path / "a.png") as picture:  # after one evaluation the start itself
        assert picture.getpixel((16, 12)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("black.png", 1, "black.png is black throughout"),
        ("text.png", 1, "text.png cannot be read as a picture"),
        ("missing.png", 2, "there is no file"),
    ],
)
def test_a_mask_that_is_of_no_use_is_named(
    weights: Path, pictures: tuple[Path, Path], tmp_path: Path, name: str, code: int, says: str
) -> None:
    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")
    (tmp_path / "text.png").write_text("not a picture")
    done = stylize(weights, *pictures, "--mask", tmp_path / name, "-o", tmp_path / "a.png")
    assert done.exit_code == code
    assert says in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_a_start_that_is_no_file_is_named(weights: Path, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    done = stylize(weights, *pictures, "--init=nosie", "-o", tmp_path / "a.png")
    assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, "impasto: there is no file nosie")

"""The command itself, on small pictures and the shipped network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from worker.engine.files import encode

ROOT = Path(__file__).parents[3]


def write(path: Path, height: int, width: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
    path.write_bytes(encode(image, "png", 0))
    return path


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    content, style = write(tmp_path / "town.png", 40, 64, 0), write(tmp_path / "night.png", 48, 48, 1)
    return ["--content", str(content), "--style", str(style)]


def run(*options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "bench/quality.py", "--threads", "1", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


def test_it_paints_measures_saves_and_draws(tmp_path: Path, pair: list[str]) -> None:
    spec = json.dumps({"size": 48, "steps": 3, "pyramid": 1})
    saved, drawn = tmp_path / "saved", tmp_path / "sheet.jpg"
    found = json.loads(
        run("--json", "--spec", spec, "--save", str(saved), "--sheet", str(drawn), *pair).stdout
    )
    before, after = found["figures"]
    assert (before["painter"], after["painter"]) == ("(content)", "compact")
    assert before["ssim"] == pytest.approx(1)
    assert after["ssim"] < 1
    assert after["gram"]["random"] != before["gram"]["random"]
    assert [figure["painter"] for figure in found["means"]] == ["(content)", "compact"]
    with Image.open(saved / "compact" / "town--night.png") as picture:
        assert picture.size == (48, 30)
    assert drawn.is_file()


def test_painted_pictures_are_measured_as_they_are(tmp_path: Path, pair: list[str]) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "town--night.png").write_bytes((tmp_path / "town.png").read_bytes())
    figures: list[dict[str, Any]] = json.loads(run("--json", "--painted", str(folder), *pair).stdout)[
        "figures"
    ]
    assert figures[1].pop("painter") == "mine"
    assert figures[0].pop("painter") == "(content)"
    assert figures[1] == figures[0]
    assert "mine" in run("--painted", str(folder), *pair).stdout


def test_a_folder_without_these_pairs_and_a_teacher_without_a_file_are_said(
    tmp_path: Path, pair: list[str]
) -> None:
    assert "none of these pairs" in run("--painted", str(tmp_path), *pair, check=False).stderr
    assert "--teacher" in run("--backbones", "teacher", *pair, check=False).stderr

"""The command itself, on small pictures and the shipped network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.quality import Figure, main, means
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


def test_it_paints_measures_saves_and_draws(tmp_path: Path, pair: list[str]) -> None:
    spec = json.dumps({"size": 48, "steps": 3, "pyramid": 1})
    saved, drawn = tmp_path / "saved", tmp_path / "sheet.jpg"
    command = [
        sys.executable,
        "-m",
        "bench.quality",
        "--painters",
        "compact",
        "--threads",
        "1",
        "--json",
        "--spec",
        spec,
        *pair,
    ]
    command += ["--save", str(saved), "--sheet", str(drawn)]
    run = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(run.stdout)
    before, after = found["figures"]
    assert (before["painter"], after["painter"]) == ("(content)", "compact")
    assert before["ssim"] == pytest.approx(1)
    assert after["ssim"] < 1
    assert after["gram"]["random"] != before["gram"]["random"]
    assert [row[0] for row in found["tables"][0]["rows"]] == ["`(content)`", "`compact`"]
    with Image.open(saved / "compact" / "town--night.png") as picture:
        assert picture.size == (48, 30)
    assert drawn.is_file()


def test_painted_pictures_are_measured_as_they_are(
    tmp_path: Path, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "town--night.png").write_bytes((tmp_path / "town.png").read_bytes())
    main(["--painted", str(folder), *pair])
    content, mine = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert (content[0], mine[0]) == ("`(content)`", "`mine`")
    assert mine[1:] == content[1:] == ["mean", "of", "1", "1.000", *content[5:]]


def test_figures_are_averaged_painter_by_painter() -> None:
    def figure(painter: str, ssim: float, noise: float) -> Figure:
        return Figure(painter, "town", "night", ssim, noise, {"random": 2 * ssim}, seconds=None)

    found = means([figure("a", 0.2, 0.5), figure("b", 0.9, 1.0), figure("a", 0.4, 2.0)])
    assert [one.painter for one in found] == ["a", "b"]
    assert (found[0].ssim, found[0].gram["random"]) == (pytest.approx(0.3), pytest.approx(0.6))
    # Half as noisy and twice as noisy are as noisy, taken together.
    assert found[0].noise == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--painted", "nowhere"], "none of these pairs"), (["--painters", "teacher"], "--teacher")],
)
def test_what_cannot_be_done_is_said(
    options: list[str], said: str, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*options, *pair])
    assert said in capsys.readouterr().err

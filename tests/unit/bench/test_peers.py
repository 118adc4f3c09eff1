"""A peer's time is read from what it prints; here a small script stands for the peer's own."""

from itertools import count
from pathlib import Path

import pytest

from bench import peers
from bench.inputs import noise
from bench.stopwatch import Mark

PRINTED = """\
VGG-19 Architecture Detected
Successfully loaded vgg19.pth
Running optimization with L-BFGS
Iteration 1 / 15
  Content 1 loss: 3.5
  Style 1 loss: 12.0
  Total loss: 15.5
Iteration 2 / 15
  Content 1 loss: 3.4
  Total loss: 14.0
Iteration 50 / 150
""".splitlines(keepends=True)

SCRIPT = """\
import os, sys, torch
words = [word for word in sys.argv[1:] if word != "-disable_check"]
given = dict(zip(words[::2], words[1::2]))
state = torch.load("vgg19.pth")
assert tuple(state["features.28.weight"].shape) == (512, 512, 3, 3)
assert given["-image_size"] == "48" and given["-print_iter"] == "1" and given["-gpu"] == "c"
assert os.path.isfile(given["-content_image"]) and os.path.isfile(given["-style_image"])
assert os.environ["OMP_NUM_THREADS"] == "1" and torch.get_num_threads() == 1
for one in range(1, int(given["-num_iterations"]) + 1):
    print(f"Iteration {one} / {given['-num_iterations']}")
    sum(torch.rand(100_000).sum() for _ in range(10))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "neural_style.py").write_text(SCRIPT)
    return tmp_path


def test_only_iteration_lines_are_marks() -> None:
    ticks = count(10.0)
    assert list(peers.marks(PRINTED, lambda: next(ticks))) == [Mark(1, 10.0), Mark(2, 11.0), Mark(50, 12.0)]


def test_a_peers_process_is_timed_by_its_lines(checkout: Path) -> None:
    with peers.workplace(noise(48)) as folder:
        taken = peers.neural_style(checkout, folder, 48, 4, threads=1, device="cpu")
    assert 0 < taken < 60


def test_a_peer_that_fails_says_what_it_said(checkout: Path) -> None:
    with peers.workplace(noise(48)) as folder, pytest.raises(peers.PeerError, match="AssertionError"):
        peers.neural_style(checkout, folder, 64, 4, threads=1, device="cpu")


def test_a_peer_that_prints_no_iterations_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "neural_style.py").write_text("print('Running optimization with L-BFGS')")
    with pytest.raises(peers.PeerError, match="Running optimization"):
        peers.neural_style(tmp_path, tmp_path, 48, 4, threads=1, device="cpu")


def test_the_recipe_is_extrapolated_from_an_iteration() -> None:
    figures = peers.Figures(
        {"neural-style-pt": 1.5}, {"compact": 0.075, "vgg19": 0.75}, 12.0, "bfloat16", 430
    )
    evaluations, jobs = peers.tables(figures)
    assert [row[-1] for row in evaluations.rows] == ["0.050", "0.50"]
    assert jobs.rows == [["1500", "12.0", "430", "1/125"]]

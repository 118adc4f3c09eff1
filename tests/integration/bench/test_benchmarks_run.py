"""Every benchmark runs, at a size at which its figures mean nothing but its tables are whole."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import report
from bench.section import Section, parse

ROOT = Path(report.__file__).parents[1]
QUIET = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

PEER = """\
for one in range(1, 4):
    print(f"Iteration {one} / 3")
    sum(range(1_000_000))
"""


def check(section: Section) -> None:
    """Every table has rows, as wide as its columns, and no cell is empty but a missing ratio."""
    assert section.machine["threads"] == 1
    for table in section.tables:
        assert table.rows
        for row in table.rows:
            assert len(row) == len(table.columns)
            assert all(row[:-1])


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "images").mkdir()
    return argparse.Namespace(quick=True, threads=1, output=tmp_path / "page.md", peers=None, teacher=None)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "bench", [one for one in report.BENCHES if one.name != "peers"], ids=lambda one: one.name
)
def test_a_benchmark_runs(bench: report.Bench, options: argparse.Namespace) -> None:
    section = report.run(bench, options)
    check(section)
    assert f"bench.{bench.module or bench.name}" in section.command
    # Only one of them draws.
    assert (options.output.parent / report.CURVES).exists() == (bench.name == "curves")


def test_the_peers_benchmark_runs_with_a_checkout(options: argparse.Namespace, tmp_path: Path) -> None:
    checkout = tmp_path / "neural-style-pt"
    checkout.mkdir()
    # Stands for the peer, whose checkout is not part of this repository.
    (checkout / "neural_style.py").write_text(PEER)
    options.peers = tmp_path
    (bench,) = (one for one in report.BENCHES if one.name == "peers")
    section = report.run(bench, options)
    check(section)
    assert [row[0] for row in section.tables[0].rows] == ["neural-style-pt"] * 2
    assert str(tmp_path) not in section.json()


def test_the_gpus_benchmark_runs_on_any_device() -> None:
    small = "--size 64 --evaluations 3 --batch 2 --rounds 1 --room 64 --batches 1 2 --steps 2 --side 64"
    section = parse(python("-m", "bench.gpu", "--device", "cpu", "--threads", "1", "--json", *small.split()))
    check(section)
    assert section.figures["figures"]["batch"]["painted"] == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_gpu_its_benchmark_says_so_and_writes_nothing(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert "no CUDA device" in python("-m", "bench.gpu", "--output", str(page))
    assert not page.exists()


def test_one_alone_is_run_again_and_the_page_keeps_the_others(tmp_path: Path) -> None:
    page, kept = tmp_path / "page.md", tmp_path / "kept"
    told = ("--quick", "--threads", "1", "--output", str(page), "--kept", str(kept))
    python("-m", "bench", "--only", "floor", *told)
    assert "## The floor" in page.read_text()
    python("-m", "bench", "--only", "lbfgs", *told)
    assert "## The floor" in page.read_text()
    assert "## L-BFGS" in page.read_text()


def python(*words: str) -> str:
    environment = os.environ | QUIET
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout


def test_a_batch_that_is_checked_later_is_measured_from_its_lines_to_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.bulk", "--lines", "1200", "--quiet", "0.3", "--json"]
    done = subprocess.run(
        [*command, "--threads", "1", "--folder", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | QUIET,
        stdout=subprocess.PIPE,
        check=True,
        timeout=240,
    )
    section = parse(done.stdout.decode())
    check(section)
    names = [phase["name"] for phase in section.figures]
    assert names == ["before", "sent", "checked", "made", "all wait", "canceled", "purged", "after"]
    waiting, after = section.figures[4], section.figures[-1]
    assert waiting["keys"] > 1200 > after["keys"]
    assert after["memory"] < waiting["memory"]
    assert list(tmp_path.iterdir()) == []

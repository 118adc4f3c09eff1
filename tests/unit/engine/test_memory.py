"""Fitting paintings into memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import Engine, Style, memory
from worker.engine.memory import Plan, capacity, least_bytes, plan, state_bytes

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
PIXELS, ACTIVATION, HALO = 512 * 512, 400.0, 80


def need(pixels: int, optimizer: str = "lbfgs") -> int:
    return int(pixels * (ACTIVATION + state_bytes(optimizer, memory.HISTORY, torch.float32)))


def test_what_fits_is_seen_whole_with_a_full_memory() -> None:
    assert plan(PIXELS, 1, ACTIVATION, HALO, "lbfgs", need(PIXELS)) == Plan(None, 10, torch.float32)


def test_what_does_not_fit_is_seen_in_tiles() -> None:
    fit = plan(PIXELS, 1, ACTIVATION, HALO, "lbfgs", need(PIXELS) - 1)
    assert fit.tile_side is not None
    assert fit.tile_side >= memory.LEAST_TILE


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("megabytes", [220, 350, 500])
def test_a_tile_with_its_halo_fits_unless_it_is_the_smallest(megabytes: int, batch: int) -> None:
    pixels, budget = 1024 * 1024, megabytes * 2**20 * batch
    fit = plan(pixels, batch, ACTIVATION, HALO, "adam", budget)
    left = budget - batch * pixels * state_bytes("adam", fit.history, fit.history_dtype)
    side = fit.tile_side
    assert side is not None
    if side > memory.LEAST_TILE:
        assert batch * (side + 2 * HALO) ** 2 * ACTIVATION <= left
    assert side == memory.MOST_TILE or batch * (2 * side + 2 * HALO) ** 2 * ACTIVATION > left


def test_tiles_do_not_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_TILE", 64)
    budget = 500 * 2**20
    one = plan(PIXELS * 4, 1, ACTIVATION, HALO, "adam", budget).tile_side
    four = plan(PIXELS, 4, ACTIVATION, HALO, "adam", budget).tile_side
    assert one is not None
    assert four is not None
    assert four < one


def test_a_network_that_cannot_be_cut_is_seen_whole_whatever_it_takes() -> None:
    assert plan(PIXELS, 1, ACTIVATION, None, "lbfgs", 1).tile_side is None


def test_without_any_memory_tiles_are_the_smallest_and_the_memory_short() -> None:
    fit = plan(PIXELS, 1, ACTIVATION, HALO, "lbfgs", 0)
    assert fit == Plan(memory.LEAST_TILE, memory.SHORT_HISTORY, torch.bfloat16)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("pixels", [64 * 64, PIXELS, 4 * PIXELS, memory.LARGE + 1])
def test_the_least_that_a_level_takes_is_below_what_it_takes_seen_whole(pixels: int, batch: int) -> None:
    least = least_bytes(pixels, batch, ACTIVATION, HALO, "lbfgs")
    assert least < least_bytes(pixels, batch, ACTIVATION, None, "lbfgs") <= batch * need(pixels)
    assert least > batch * pixels * state_bytes("lbfgs", memory.SHORT_HISTORY, torch.bfloat16)


def test_beyond_a_tile_the_least_grows_with_the_optimizer_s_part_only() -> None:
    one, four = (least_bytes(n * 1024 * 1024, 1, ACTIVATION, HALO, "adam") for n in (1, 4))
    assert four - one == 3 * 1024 * 1024 * state_bytes("adam", 0, torch.float32)


def test_large_pictures_have_a_short_memory_in_half_precision() -> None:
    fit = plan(memory.LARGE + 1, 1, ACTIVATION, HALO, "lbfgs", 2**50)
    assert fit == Plan(None, memory.SHORT_HISTORY, torch.bfloat16)
    assert plan(memory.LARGE, 1, ACTIVATION, HALO, "lbfgs", 2**50).history_dtype is torch.float32
    short = state_bytes("lbfgs", memory.SHORT_HISTORY, torch.bfloat16)
    assert short < 0.6 * state_bytes("lbfgs", memory.HISTORY, torch.float32)


def test_adam_takes_less_than_lbfgs() -> None:
    assert state_bytes("adam", 10, torch.float32) < state_bytes("lbfgs", 10, torch.float32)


@pytest.mark.parametrize("budget", [0, 1, 2**30, 2**50])
@pytest.mark.parametrize("side", [16, 64, 256, 4096])
def test_there_is_room_for_one_at_least(side: int, budget: int) -> None:
    assert capacity(side * side, ACTIVATION, "lbfgs", budget, CPU) >= 1


def test_a_cpu_takes_several_only_where_they_are_small() -> None:
    assert capacity(1024 * 683, ACTIVATION, "lbfgs", 2**50, CPU) == 1
    assert capacity(512 * 341, ACTIVATION, "lbfgs", 2**50, CPU) == 3
    assert capacity(256 * 171, ACTIVATION, "lbfgs", 2**50, CPU) == 11
    assert capacity(64 * 64, ACTIVATION, "lbfgs", 2**50, CPU) == 16


def test_a_gpu_takes_as_many_as_fit_up_to_a_bound() -> None:
    gpu = torch.device("cuda")
    assert capacity(PIXELS, ACTIVATION, "lbfgs", 5 * need(PIXELS), gpu) == 5
    assert capacity(PIXELS, ACTIVATION, "lbfgs", 2**60, gpu) == memory.MOST_ON_GPU


def test_in_a_container_files_that_were_read_count_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"memory.max": "1000", "memory.current": "900", "memory.stat": "anon 300\ninactive_file 600\n"}
    for name, text in facts.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory.free(CPU) == 700
    (tmp_path / "memory.max").write_text("max")
    assert memory.free(CPU) > 2**20


def test_what_a_large_painting_took_is_free_for_the_next(
    engine: Engine, make_spec: Callable[..., Spec], photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []
    monkeypatch.setattr(memory, "give_back", lambda: times.append(1))
    for budget, given_back in ((2**40, 0), (2**20, 1)):
        monkeypatch.setattr(Engine, "_budget", lambda _, budget=budget: budget)
        engine.stylize(photograph, [Style(photograph)], make_spec(steps=1))
        assert len(times) == given_back


def test_free_memory_is_what_the_machine_says() -> None:
    assert 0 < memory.free(CPU) < 2**50


LIMITED = """
import resource, sys
import torch
from worker.engine import memory

memory.keep_freed_memory()
memory._machine_free = memory._container_free = lambda: memory.UNBOUND  # whatever else is at work here
limit = getattr(resource, sys.argv[1])
used = memory._status(sys.argv[2])
resource.setrlimit(limit, (used + 400 * 2**20, resource.RLIM_INFINITY))
free = [memory.free(torch.device("cpu"))]
tensor = torch.ones(200 * 2**18)
free.append(memory.free(torch.device("cpu")))
del tensor
free.append(memory.free(torch.device("cpu")))
print(*(size / 2**20 for size in free))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell what a process has")
@pytest.mark.parametrize("limit", [("RLIMIT_DATA", "VmData"), ("RLIMIT_AS", "VmSize")])
def test_what_a_process_may_have_at_most_counts_and_what_its_allocator_keeps_is_free(
    limit: tuple[str, str],
) -> None:
    command = [sys.executable, "-c", LIMITED, *limit]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=240).stdout
    before, during, after = map(float, told.split())
    assert 390 <= before < 500
    assert 180 <= before - during <= 220
    assert abs(after - before) < 20

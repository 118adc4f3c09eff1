from pathlib import Path

import pytest
import torch

from worker.engine import DeviceUnavailableError, Engine
from worker.engine.device import pick_arithmetic, pick_device


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_before_mps_before_the_cpu() -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    assert pick_device("auto").type == next(name for name, is_there in there.items() if is_there)


@pytest.mark.parametrize("name", ["cuda:99", "meta", "toaster"])
def test_a_device_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(DeviceUnavailableError, match=name):
        pick_device(name)


def test_auto_computes_in_bfloat16_where_the_processor_does_and_else_in_float32() -> None:
    has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    arithmetic = pick_arithmetic("auto", torch.device("cpu"))
    assert arithmetic.name == ("bfloat16" if has_it else "float32")
    assert arithmetic.dtype == (torch.bfloat16 if has_it else torch.float32)


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(name: str) -> None:
    assert pick_arithmetic(name, torch.device("cpu")).name == name


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(DeviceUnavailableError, match="float8"):
        pick_arithmetic("float8", torch.device("cpu"))


def test_tf32_is_refused_where_there_is_no_nvidia_gpu() -> None:
    with pytest.raises(DeviceUnavailableError, match="NVIDIA"):
        pick_arithmetic("tf32", torch.device("cpu"))


def test_the_engine_says_what_it_computes_in(weights_dir: Path) -> None:
    for name in ("float32", "bfloat16"):
        assert Engine(weights_dir, device="cpu", dtype=name).dtype == name

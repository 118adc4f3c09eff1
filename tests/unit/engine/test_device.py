import pytest
import torch

from worker.engine import DeviceUnavailableError
from worker.engine.device import pick_device, pick_dtype


def test_the_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_cuda_before_mps_before_the_cpu() -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    assert pick_device("auto").type == next(name for name, is_there in there.items() if is_there)


@pytest.mark.parametrize("name", ["cuda:99", "meta", "toaster"])
def test_a_device_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(DeviceUnavailableError, match=name):
        pick_device(name)


def test_auto_computes_in_float32() -> None:
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(DeviceUnavailableError, match="float8"):
        pick_dtype("float8", torch.device("cpu"))

"""What torch's errors mean: memory that ran out, or a device that is of no use to this process any more.

Torch tells both by error classes and words of many libraries; outside this file there is one error for each.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from worker.engine.errors import DeviceLostError

_RAN_OUT = (
    "can't allocate memory",  # torch's own allocator on a CPU
    "not enough memory",  # the same on Windows
    "std::bad_alloc",
    "out of memory",  # CUDA and Apple's MPS, outside torch's allocator
    "ALLOC_FAILED",  # cuBLAS and cuDNN
)


@contextmanager
def told_apart(device: torch.device) -> Iterator[None]:
    """Let every failure for want of memory, and every one that ends a device, be of its own class.

    Raises:
        torch.OutOfMemoryError: the device or the host ran out of memory, in whatever words.
        DeviceLostError: the device answers nothing any more.
    """
    try:
        yield
    except (torch.OutOfMemoryError, DeviceLostError):
        raise
    except Exception as error:
        if ran_out(error):
            raise torch.OutOfMemoryError(_first_line(error)) from error
        if not answers(device):
            raise DeviceLostError(f"{device} has failed: {_first_line(error)}") from error
        raise


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory could not be had."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in _RAN_OUT)
    return isinstance(error, MemoryError)


def answers(device: torch.device) -> bool:
    """Whether a device still computes.

    An illegal access, a failed assertion or an uncorrectable memory error on a GPU spoils the process' whole
    context: every later call fails as well (CUDA Runtime API, `cudaErrorIllegalAddress` and its like). Other
    errors pass. So the device is asked.
    """
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
        return int(torch.ones(1, dtype=torch.int32, device=device).item()) == 1
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False


def _first_line(error: Exception) -> str:
    """The rest is where in torch's source it was raised, and advice to its authors."""
    return (str(error) or type(error).__name__).splitlines()[0]

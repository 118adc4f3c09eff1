"""Which device computes, and in which precision."""

import torch

from worker.engine.errors import DeviceUnavailableError

DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
"""`auto` is float32 everywhere: losses and gradients then agree between devices."""


def pick_device(wanted: str = "auto") -> torch.device:
    """The device for `auto` (CUDA before Apple's MPS before the CPU), `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        DeviceUnavailableError: torch does not see it here.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise DeviceUnavailableError(f"{wanted!r} is no device name") from error
    if not _is_there(device):
        raise DeviceUnavailableError(f"torch finds no {wanted} on this machine")
    return device


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def pick_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The network's arithmetic: `auto`, `float32` or `bfloat16`. Losses and optimiser stay in float32.

    Raises:
        DeviceUnavailableError: an unknown name, or a device without bfloat16.
    """
    if wanted not in DTYPES:
        raise DeviceUnavailableError(f"the engine computes in {', '.join(DTYPES)}, not in {wanted!r}")
    dtype = DTYPES[wanted]
    if dtype is torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceUnavailableError(f"{torch.cuda.get_device_name(device)} has no bfloat16")
    return dtype

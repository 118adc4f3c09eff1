"""Which device computes, and in which precision."""

from dataclasses import dataclass

import torch

from worker.engine.errors import DeviceUnavailableError


@dataclass(frozen=True)
class Arithmetic:
    """The network's precision. Gram matrices, losses and optimiser are float32 in every one.

    Attributes:
        name: `float32`, `tf32` (float32 in memory, rounded to ten bits in convolutions on NVIDIA GPUs) or
            `bfloat16`.
        dtype: what activations and kernels are kept in.
    """

    name: str
    dtype: torch.dtype

    def set_up(self, device: torch.device) -> None:
        """Tell torch, for the whole process."""
        if device.type != "cuda":
            return
        torch.backends.cudnn.allow_tf32 = self.name == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = False
        # Every size is met hundreds of times: finding its fastest kernels pays.
        torch.backends.cudnn.benchmark = True


ARITHMETICS = {
    one.name: one
    for one in (
        Arithmetic("float32", torch.float32),
        Arithmetic("tf32", torch.float32),
        Arithmetic("bfloat16", torch.bfloat16),
    )
}


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


def pick_arithmetic(wanted: str, device: torch.device) -> Arithmetic:
    """The precision for `auto`, `float32`, `tf32` or `bfloat16`.

    `auto` takes bfloat16 where the processor computes in it, which there doubles the speed at least; else
    float32, on NVIDIA GPUs as TF32.

    Raises:
        DeviceUnavailableError: an unknown name, or a device without that precision.
    """
    if wanted == "auto":
        if _has_bfloat16(device):
            return ARITHMETICS["bfloat16"]
        return ARITHMETICS["tf32" if device.type == "cuda" else "float32"]
    if wanted not in ARITHMETICS:
        raise DeviceUnavailableError(f"the engine computes in {', '.join(ARITHMETICS)}, not in {wanted!r}")
    if wanted == "tf32" and device.type != "cuda":
        raise DeviceUnavailableError("tf32 is a precision of NVIDIA GPUs")
    if wanted == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise DeviceUnavailableError(f"{torch.cuda.get_device_name(device)} has no bfloat16")
    return ARITHMETICS[wanted]


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32, by instructions of its own."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    # oneDNN also runs it, slowly, on processors that only have AVX-512: ask for the instructions.
    asks = (
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return any(ask is not None and bool(ask()) for ask in asks)

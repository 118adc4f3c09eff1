"""How fast this machine multiplies matrices and moves memory, measured on the spot."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from bench.machine import synchronize

CPU_SIDES, CUDA_SIDES = (1024, 2048, 3072), (4096, 8192, 12288)
"""Sides of the square matrices that are tried; the fastest counts."""

CPU_MEGABYTES, CUDA_MEGABYTES = 256, 1024
"""Size of each tensor that is moved: far beyond any cache."""

SLOW = 1.0
"""Seconds of one product above which no larger one is tried: a precision that is only emulated."""

DTYPES = {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Rates:
    """What the machine can do.

    Attributes:
        flops: floating-point operations a second of a matrix product, by arithmetic; a multiply-add is two.
        bandwidth: bytes a second, reads and writes together.
    """

    flops: dict[str, float]
    bandwidth: float

    @property
    def fast_bfloat16(self) -> bool:
        """Whether bfloat16 pays here."""
        return self.flops["bfloat16"] > self.flops["float32"]


def measure(device: str = "cpu", side_limit: int | None = None) -> Rates:
    """The rates of `device`. `side_limit` bounds the matrices, for a quick look."""
    cuda = device.startswith("cuda")
    sides = [side for side in (CUDA_SIDES if cuda else CPU_SIDES) if side <= (side_limit or side)]
    arithmetics = ["float32", "tf32", "bfloat16"] if cuda else ["float32", "bfloat16"]
    flops = {name: _products(name, sides or [side_limit or CPU_SIDES[0]], device) for name in arithmetics}
    megabytes = CUDA_MEGABYTES if cuda else CPU_MEGABYTES
    return Rates(flops, _bandwidth(megabytes if side_limit is None else 16, device))


def _products(arithmetic: str, sides: list[int], device: str) -> float:
    best = 0.0
    with _precision("high" if arithmetic == "tf32" else "highest"):
        for side in sides:
            one, two = (torch.rand(side, side, device=device).to(DTYPES[arithmetic]) for _ in range(2))
            into = torch.empty_like(one)

            def product(one: torch.Tensor = one, two: torch.Tensor = two, into: torch.Tensor = into) -> None:
                torch.mm(one, two, out=into)

            took = fastest(product, device)
            best = max(best, 2 * side**3 / took)
            if took > SLOW:
                break
    return best


def _bandwidth(megabytes: int, device: str) -> float:
    """The faster of a copy and of a triad a = b + s c (McCalpin 1995, STREAM)."""
    a, b, c = (torch.ones(megabytes * 2**18, device=device) for _ in range(3))
    copy = 2 * a.nbytes / fastest(lambda: a.copy_(b), device)
    triad = 3 * a.nbytes / fastest(lambda: torch.add(b, c, alpha=0.5, out=a), device)
    return max(copy, triad)


def fastest(function: Callable[[], object], device: str, tries: int = 5) -> float:
    """Seconds of a call: the least of some tries, since a rate is what the machine can do.

    On a GPU a try is several calls in a row, so that the launch is hidden as it is in real work.
    """
    calls = 10 if device.startswith("cuda") else 1
    function()
    synchronize(device)
    least = float("inf")
    for _ in range(tries):
        begun = time.perf_counter()
        for _ in range(calls):
            function()
        synchronize(device)
        least = min(least, (time.perf_counter() - begun) / calls)
    return least


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """`high` lets a GPU round the factors of float32 products to TF32; `highest` forbids it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

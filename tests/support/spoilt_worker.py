"""A real worker process whose engine meets faults on command: `python -m tests.support.spoilt_worker paint`.

While the file that `IMPASTO_TEST_FAULT` names is there, every evaluation of a job meets the fault that it
names; one that ends in `once` is met by one evaluation. What a CPU has no way to suffer is raised in torch's
words; what a GPU can suffer is done to it.

- `nan`: an evaluation comes out as values that are no numbers.
- `memory`: the allocator refuses.
- `device`: an illegal access, after which the device answers nothing any more, as CUDA has it.
- `assert`: a failing assertion in a CUDA kernel (needs a GPU).

`IMPASTO_TEST_CONTROL_GROUP` names a folder that says what the container may take, `IMPASTO_TEST_WHOLE` the
bytes of optimiser state up to which checkpoints are whole.
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from worker.__main__ import main
from worker.engine import failures, memory, resumption
from worker.engine.objective import Evaluation, Objective
from worker.paint import Painter

ALLOCATOR = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
ILLEGAL_ACCESS = "CUDA error: an illegal memory access was encountered"

_fault = Path(os.environ.get("IMPASTO_TEST_FAULT", os.devnull))
_evaluate, _answers, _work = Objective.__call__, failures.answers, Painter.work
_lost = _at_work = False


def _due() -> str:
    """The fault that this evaluation meets, or nothing; while the worker warms up, nothing."""
    if not _at_work:
        return ""
    try:
        name = _fault.read_text().strip()
    except OSError:
        return ""
    if name.endswith(" once"):
        _fault.unlink()
    return name.removesuffix(" once")


def spoilt(objective: Objective, x: Tensor) -> Evaluation:
    """An evaluation, or what befell it."""
    global _lost  # noqa: PLW0603 - a process has one device
    due = _due()
    if due == "device" or _lost:
        _lost = True
        raise torch.AcceleratorError(ILLEGAL_ACCESS)
    if due == "memory":
        raise RuntimeError(ALLOCATOR)
    if due == "assert":
        table = torch.zeros(1, device=x.device)
        table[torch.ones(1, dtype=torch.int64, device=x.device)].cpu()
    found = _evaluate(objective, x)
    if due == "nan":
        found.terms.fill_(torch.nan)
        found.gradient.fill_(torch.nan)
    return found


def work(painter: Painter) -> bool:
    """From the first job on, faults are met."""
    global _at_work  # noqa: PLW0603 - likewise
    _at_work = True
    return _work(painter)


def answers(device: torch.device) -> bool:
    """Whether the device does; none does after it was lost."""
    return not _lost and _answers(device)


if __name__ == "__main__":
    Objective.__call__ = spoilt  # type: ignore[method-assign]
    failures.answers = answers
    Painter.work = work  # type: ignore[method-assign]
    if group := os.environ.get("IMPASTO_TEST_CONTROL_GROUP"):
        memory.CONTROL_GROUP = Path(group)
    if whole := os.environ.get("IMPASTO_TEST_WHOLE"):
        resumption.WHOLE = int(whole)
    sys.exit(main())

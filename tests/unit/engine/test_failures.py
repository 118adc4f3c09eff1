"""What torch's errors mean, and that the engine says so."""

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import DeviceLostError, Engine, Style, failures, memory, painting
from worker.engine.contract import Request
from worker.engine.failures import answers, ran_out, told_apart

CPU = torch.device("cpu")
MakeSpec = Callable[..., Spec]
#: More than any machine has.
EXABYTE = 2**60


def test_a_cpu_that_has_not_so_much_memory_is_a_device_out_of_memory() -> None:
    with pytest.raises(torch.OutOfMemoryError), told_apart(CPU):
        torch.empty(EXABYTE, dtype=torch.uint8)


def test_python_s_own_allocator_counts_too() -> None:
    with pytest.raises(torch.OutOfMemoryError), told_apart(CPU):
        bytearray(EXABYTE)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a primitive"),
        MemoryError(),
    ],
    ids=str,
)
def test_these_errors_say_that_memory_ran_out(error: Exception) -> None:
    assert ran_out(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
        RuntimeError("could not create a primitive descriptor for a convolution forward primitive"),
        ValueError("can't allocate memory"),
    ],
    ids=str,
)
def test_these_do_not(error: Exception) -> None:
    assert not ran_out(error)


def test_what_a_device_that_answers_meets_passes_as_it_is() -> None:
    assert answers(CPU)
    with pytest.raises(RuntimeError, match="as it is"), told_apart(CPU):
        raise RuntimeError("as it is")


@pytest.fixture
def lost_gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A GPU of which every call fails."""

    def fail(_: torch.device) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    return torch.device("cuda")


def test_a_device_that_answers_nothing_is_lost_whatever_the_error_was(lost_gpu: torch.device) -> None:
    assert not answers(lost_gpu)
    with pytest.raises(DeviceLostError) as lost, told_apart(lost_gpu):
        raise RuntimeError("cuDNN error: EXECUTION_FAILED\nCompile with TORCH_USE_CUDA_DSA")
    assert str(lost.value) == "cuda has failed: cuDNN error: EXECUTION_FAILED"


def test_a_device_that_has_no_memory_to_answer_with_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.cuda, "synchronize", full)
    assert answers(torch.device("cuda"))


def test_when_memory_runs_out_it_is_painted_once_more_in_less(
    engine: Engine,
    make_spec: MakeSpec,
    photograph: Tensor,
    texture: Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[memory.Plan] = []
    plan = memory.plan

    def refuse_the_first(*arguments: object) -> memory.Plan:
        plans.append(plan(*arguments))  # type: ignore[arg-type]
        if len(plans) == 1:
            torch.empty(EXABYTE, dtype=torch.uint8)
        return plans[-1]

    monkeypatch.setattr(memory, "plan", refuse_the_first)
    outcome = engine.stylize(photograph, [Style(texture)], make_spec(steps=3))
    assert outcome.evaluations == 3
    assert plans[0] == memory.Plan(None, memory.HISTORY, torch.float32)
    assert plans[1] == memory.Plan(memory.LEAST_TILE, memory.SHORT_HISTORY, torch.bfloat16)


def test_a_batch_without_memory_is_not_tried_twice(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def refuse(self: painting.Painting, **_: object) -> None:
        tries.append(len(self.requests))
        raise MemoryError

    monkeypatch.setattr(painting.Painting, "paint", refuse)
    request = Request(photograph, [Style(photograph)], make_spec(steps=3))
    for requests, expected in ([request] * 2, [2]), ([request], [1, 1]):
        tries.clear()
        with pytest.raises(torch.OutOfMemoryError):
            engine.stylize_batch(requests)
        assert tries == expected


def test_what_ran_out_of_memory_has_let_go_of_all_it_took_when_the_next_begins(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[weakref.ref[painting.Painting]] = []
    held_at_begin: list[int] = []

    def refuse(self: painting.Painting, **_: object) -> None:
        held_at_begin.append(sum(one() is not None for one in taken))
        taken.append(weakref.ref(self))
        self.mirror = self  # type: ignore[attr-defined]
        raise MemoryError

    monkeypatch.setattr(painting.Painting, "paint", refuse)
    with pytest.raises(torch.OutOfMemoryError) as failed:
        engine.stylize_batch([Request(photograph, [Style(photograph)], make_spec(steps=3))])
    # Not even the exception, which the caller may keep, holds what there was.
    assert failed.value is not None
    assert [one() for one in taken] == [None, None]
    assert held_at_begin == [0, 0]


def test_what_the_machine_has_no_room_for_is_refused_before_it_is_begun(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    monkeypatch.setattr(memory, "free", lambda _: 2**20)
    with pytest.raises(torch.OutOfMemoryError, match="64 x 48 px take 2 MiB at least"):
        engine.stylize(photograph, [Style(photograph)], make_spec(steps=3), lambda p: begun.append(p.step))
    assert begun == []
    monkeypatch.setattr(memory, "free", lambda _: 2**30)
    engine.stylize(photograph, [Style(photograph)], make_spec(steps=3))


def test_a_style_that_there_is_no_room_to_look_at_is_refused_before_it_is_begun(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(steps=1, style_scale=8)
    monkeypatch.setattr(memory, "free", lambda _: 16 * 2**20)
    engine.stylize(photograph, [Style(photograph)], make_spec(steps=1))
    with pytest.raises(torch.OutOfMemoryError, match="a style looked at with 512 x 384 px takes"):
        engine.stylize(photograph, [Style(photograph)], spec)


def test_a_lost_device_is_told_by_every_door(
    engine: Engine, make_spec: MakeSpec, photograph: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(memory, "plan", fail)
    monkeypatch.setattr(memory, "capacity", fail)
    spec = make_spec(steps=3)
    with pytest.raises(torch.AcceleratorError):
        engine.stylize(photograph, [Style(photograph)], spec)
    monkeypatch.setattr(failures, "answers", lambda _: False)
    with pytest.raises(DeviceLostError, match="device-side assert"):
        engine.stylize(photograph, [Style(photograph)], spec)
    with pytest.raises(DeviceLostError, match="device-side assert"):
        engine.capacity(spec, 64, 64)

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from worker.engine import Checkpoint, CheckpointError

CHECKPOINT = Checkpoint(
    fingerprint="abc",
    step=12,
    level=1,
    image=torch.linspace(-0.2, 1.2, 3 * 4 * 5).view(3, 4, 5),
    losses={"total": 1.5, "content": 1.0},
    optimizer={"s": torch.ones(2, 60), "count": torch.tensor(3), "pairs": torch.ones(2, 60).bfloat16()},
    best=torch.linspace(0, 1, 3 * 4 * 5).view(3, 4, 5),
)
BYTES = CHECKPOINT.to_bytes()


def test_a_checkpoint_comes_back_from_its_bytes_unchanged() -> None:
    again = Checkpoint.from_bytes(BYTES)
    assert (again.fingerprint, again.step, again.level) == ("abc", 12, 1)
    assert again.losses == CHECKPOINT.losses
    assert torch.equal(again.image, CHECKPOINT.image)
    assert again.best is not None
    assert CHECKPOINT.best is not None
    assert torch.equal(again.best, CHECKPOINT.best)
    assert again.optimizer.keys() == CHECKPOINT.optimizer.keys()
    assert all(torch.equal(again.optimizer[name], CHECKPOINT.optimizer[name]) for name in again.optimizer)


def test_a_best_picture_that_is_not_kept_apart_is_none() -> None:
    assert Checkpoint.from_bytes(replace(CHECKPOINT, best=None).to_bytes()).best is None


def test_the_format_before_is_refused() -> None:
    older = BYTES.replace(b"impasto-checkpoint-2", b"impasto-checkpoint-1")
    with pytest.raises(CheckpointError, match="format"):
        Checkpoint.from_bytes(older)


@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
@settings(deadline=None)
def test_a_changed_byte_is_noticed_or_harmless(position: int, change: int) -> None:
    damaged = bytearray(BYTES)
    damaged[position] ^= change
    try:
        found = Checkpoint.from_bytes(bytes(damaged))
    except CheckpointError:
        return
    # Only the header's own free text lies outside the digest.
    assert torch.equal(found.image, CHECKPOINT.image)


@given(st.integers(0, len(BYTES) - 1))
@settings(deadline=None)
def test_truncated_bytes_are_refused(length: int) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(BYTES[:length])


@pytest.mark.parametrize(
    "data", [b"", b"not a checkpoint", b"\x80\x04K\x01.", save({"image": torch.zeros(3, 2, 2)})]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.from_bytes(data)

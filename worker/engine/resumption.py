"""What of a painting goes into a checkpoint, and how one goes on from there.

A checkpoint is whole while it is small: the painting then goes on to the last digit as if nothing had
happened. A larger one holds what the optimiser learned in so many bytes a value of the picture, and the
painting goes another way and gets as far. With L-BFGS it stands before the accepted evaluation, which is made
once more: its gradient would take the place of a pair.
"""

import hashlib
from collections.abc import Sequence

import torch

from shared.engine_version import ENGINE_VERSION
from worker.engine import adam, images, lbfgs
from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Request, Style
from worker.engine.errors import CheckpointError
from worker.engine.loop import Loop
from worker.engine.objective import TERMS
from worker.engine.optimizers import ACCEPTED, State
from worker.engine.pyramid import Level
from worker.engine.statistics import digest

WHOLE = 16 * 2**20
"""Bytes of optimiser state up to which it is kept whole: pictures up to 308 x 205 px with L-BFGS, 724 x 482
with Adam. Larger ones' checkpoints have 16 bytes a value with L-BFGS, 14 with Adam, and 4 more where the best
picture is not the accepted one: 34 MB at 1024 x 683."""

_NEEDED = {"lbfgs": lbfgs.PARTS, "adam": adam.PARTS}
_PICTURES = frozenset({"x", "gradient", "pairs", "first", "second"})
"""Parts with an entry a value of the picture."""


def take(loop: Loop, place: int, name: str, step: int, level: int, *, unfinished: bool) -> Checkpoint:
    """A checkpoint of one picture of a batch.

    Args:
        loop: the level's.
        place: the picture's in it.
        name: `fingerprint` of its request.
        step: evaluations done.
        level: the one in which they ended.
        unfinished: whether the level has evaluations left: else its best picture is all that counts.
    """
    optimizer = loop.optimizer
    terms = loop.best_terms[place].tolist()
    losses = dict(zip(TERMS, terms, strict=True)) if terms[0] < torch.inf else {}
    best = loop.best[place].cpu().clone()
    if not unfinished:
        return Checkpoint(name, step, level, best, losses)
    x, accepted = (one[place].cpu().clone() for one in (optimizer.x, optimizer.accepted))
    kept = None if torch.equal(best, accepted) or not losses else best
    whole = optimizer.state_bytes <= WHOLE
    state = optimizer.state(place) if whole else optimizer.experience(place)
    # Where the next picture is the accepted one, that has not been evaluated yet.
    if whole or state.keys() & set(ACCEPTED) or torch.equal(x, accepted):
        return Checkpoint(name, step, level, x, losses, state, kept)
    return Checkpoint(name, step - 1, level, accepted, losses, state, kept)


def restore(loop: Loop, resumes: Sequence[Checkpoint | None]) -> None:
    """Have a level, which begins at the checkpoints' pictures, go on where they were taken."""
    loop.optimizer.restore([resume.optimizer if resume else {} for resume in resumes])
    for place, resume in enumerate(resumes):
        if resume is None or not resume.losses:
            continue
        loop.best[place] = loop.optimizer.accepted[place] if resume.best is None else resume.best
        terms = [resume.losses.get(term, torch.inf) for term in TERMS]
        loop.best_terms[place] = torch.tensor(terms, device=loop.best_terms.device)


def check(request: Request, levels: Sequence[Level]) -> None:
    """Raise CheckpointError where a request's checkpoint does not belong to it."""
    resume = request.resume
    if resume is None:
        return
    if resume.fingerprint != fingerprint(request):
        raise CheckpointError("the checkpoint belongs to another spec, other pictures or another engine")
    if not 0 <= resume.level < len(levels) or resume.step > levels[resume.level].end:
        raise CheckpointError("the checkpoint lies outside its own painting")
    size = (3, *images.level_size(request.content, request.spec.size, levels[resume.level].longest))
    if any(tuple(one.shape) != size for one in (resume.image, resume.best) if one is not None):
        raise CheckpointError("the checkpoint's picture has another size than its level")
    _check_state(resume.optimizer, request.spec.optimizer, resume.image.numel())


def _check_state(state: State, optimizer: str, values: int) -> None:
    """Raise CheckpointError where a state is not this optimiser's, of a picture of so many values."""
    needed = _NEEDED[optimizer] | (set(ACCEPTED) if state.keys() & set(ACCEPTED) else set())
    missing = needed - state.keys() if state else set()
    if missing:
        raise CheckpointError(f"the checkpoint's optimiser state lacks {', '.join(sorted(missing))}")
    if any(state[part].shape[-1] != values for part in _PICTURES & state.keys()):
        raise CheckpointError("the checkpoint's optimiser state is of another size than its picture")


def fingerprint(request: Request) -> str:
    """Names what a checkpoint belongs to: engine, spec, the pictures' shapes and the styles' weights."""
    facts = [str(ENGINE_VERSION), request.spec.model_dump_json(), str(tuple(request.content.shape))]
    facts += [_describe(style) for style in request.styles]
    facts.append("" if request.init is None else str(tuple(request.init.shape)))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _describe(style: Style) -> str:
    masks = [None if mask is None else digest(mask) for mask in (style.mask, style.region)]
    return f"{tuple(style.image.shape)} {style.weight!r} {masks}"

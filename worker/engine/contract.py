"""What goes into `Engine.stylize` and what comes out of it, beside the spec."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from shared.spec import Spec
from worker.engine.checkpoint import Checkpoint


@dataclass(frozen=True)
class Style:
    """A style picture.

    Attributes:
        image: RGB in [0, 1], (3, h, w), of any size.
        weight: its share among the styles of the same region.
        mask: which part of the style to learn from: (h', w') in [0, 1], soft, of any size; None for all.
        region: which part of the content to paint with it, likewise; None for all.
        digest: names the picture's bytes, so that its statistics can be kept; made from `image` when None.
    """

    image: Tensor
    weight: float = 1.0
    mask: Tensor | None = None
    region: Tensor | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Progress:
    """What the callback learns after an evaluation.

    Attributes:
        step: evaluations done, counted over all levels.
        steps: evaluations in all.
        level: level of the pyramid, from 0 (coarsest).
        levels: how many levels there are.
        losses: `total`, and `content`, `style`, `tv`, `photorealism` before their weights.
        image: makes the picture just evaluated, (3, H, W) in [0, 1] on the CPU, at the level's size.
        checkpoint: makes a checkpoint to go on from. Both must be called inside the callback.
    """

    step: int
    steps: int
    level: int
    levels: int
    losses: Mapping[str, float]
    image: Callable[[], Tensor]
    checkpoint: Callable[[], Checkpoint]


@dataclass(frozen=True)
class Request:
    """One picture to paint, as `Engine.stylize_batch` takes it; `Engine.stylize` says what each part is."""

    content: Tensor
    styles: Sequence[Style]
    spec: Spec
    init: Tensor | None = None
    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None
    resume: Checkpoint | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished picture.

    Attributes:
        image: (3, H, W) in [0, 1] on the CPU, longest side as the spec says.
        losses: the picture's losses before it was clamped, named as in `Progress`.
        evaluations: evaluations in all, those before a resumption included.
        seconds: wall time of this run.
        device: where it ran.
        dtype: the network's arithmetic.
        batch: pictures that were painted together with this one, itself included.
        tiled: True when the picture was too large for memory and was evaluated tile by tile.
    """

    image: Tensor
    losses: dict[str, float]
    evaluations: int
    seconds: float
    device: str
    dtype: str
    batch: int = 1
    tiled: bool = False


class Stopped(Exception):  # noqa: N818 - a caller's wish, not an error
    """`should_stop` answered True; `checkpoint` holds what is needed to go on."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(f"stopped after {checkpoint.step} evaluations")
        self.checkpoint = checkpoint

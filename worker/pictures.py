"""A job's pictures in the engine's terms, from the object store: tensors, masks and all.

What is fetched, cleaned and kept is intake's business; what is made of a mask, the engine's.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from shared.errors import InternalFault, MaskEmpty
from shared.jobs.pictures import Picture
from shared.jobs.record import Job
from shared.objects import ObjectMissingError
from worker.engine import Style
from worker.engine.files import decode, decode_grey


class Source(Protocol):
    """Where pictures are read from: an object store, or something before it."""

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""


@dataclass(frozen=True)
class Loaded:
    """What `Engine.stylize` is given of a job, beside its spec.

    Attributes:
        content: RGB in [0, 1], (3, H, W).
        styles: in the job's order, with masks and regions as luma (h, w) in [0, 1].
        init: the picture to start from, as `content`; None unless the spec asks for one.
    """

    content: Tensor
    styles: tuple[Style, ...]
    init: Tensor | None


def load(job: Job, objects: Source) -> Loaded:
    """Read and decode every picture of a job.

    Raises:
        MaskEmpty: a style's mask is black throughout.
        InternalFault: a clean copy was never made or is gone.
        StorageUnavailable: the object store does not answer.
    """
    content = decode(_bytes(job.content, objects))
    styles = tuple(_style(index, picture, objects) for index, picture in enumerate(job.styles))
    return Loaded(content, styles, decode(_bytes(job.init, objects)) if job.init else None)


def _style(index: int, picture: Picture, objects: Source) -> Style:
    mask = decode_grey(_bytes(picture.mask, objects)) if picture.mask else None
    if mask is not None and not mask.any():
        raise MaskEmpty(
            "The mask is black throughout: white what is to count.", pointer=f"/styles/{index}/mask"
        )
    return Style(
        decode(_bytes(picture, objects)),
        picture.weight,
        mask,
        decode_grey(_bytes(picture.region, objects)) if picture.region else None,
        picture.sha256,
    )


def _bytes(picture: Picture, objects: Source) -> bytes:
    if picture.key is None:
        raise InternalFault("a picture has no clean copy")
    try:
        return objects.get(picture.key)
    except ObjectMissingError as error:
        raise InternalFault("a picture's clean copy is gone from the object store") from error

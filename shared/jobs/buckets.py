"""Which jobs may be painted together: those of one bucket.

A bucket names everything in which the pictures of a batch must agree, so that an evaluation is one pass of
one network over tensors of one shape. Weights, styles, seeds, starting pictures and colours are each one's
own. That the jobs must also go on from the same step is not part of it: a job's step changes while it lives,
so `companions.lua` compares that.
"""

import hashlib
import json

from shared.jobs.pictures import Picture
from shared.sizes import size_for
from shared.spec import Spec

#: Bytes of hash: enough for a few million live buckets, and every waiting record holds them.
_BYTES = 6


def bucket_of(spec: Spec, width: int, height: int) -> str:
    """The bucket of a job, in 12 hexadecimal digits.

    Args:
        spec: the job's resolved spec.
        width: of its content, in pixels.
        height: likewise.
    """
    agreed = [
        spec.backbone,
        spec.pooling,
        size_for(height, width, spec.size),
        spec.steps,
        spec.pyramid,
        spec.optimizer,
        spec.weighting,
        spec.style_loss,
        sorted(spec.content_layers or ()),
        sorted(spec.style_layers or ()),
    ]
    return hashlib.blake2b(json.dumps(agreed).encode(), digest_size=_BYTES).hexdigest()


def bucket_for(spec: Spec, content: Picture) -> str | None:
    """The bucket of a job that is ready for paint; None where the size is not known: it is painted alone."""
    if content.width is None or content.height is None:
        return None
    return bucket_of(spec, content.width, content.height)

"""A finished picture on its way into the object store, and what other attempts have left there.

The picture stays in hand while the store is away, so that nothing is painted twice. That a result counts is
for the record to say, which `worker.attempt` asks; until then it is an object that nobody names.
"""

import hashlib
import time
from contextlib import suppress
from functools import partial

from shared.errors import StorageUnavailable
from shared.jobs.record import Output
from shared.jobs.results import Claim
from shared.objects import ObjectStore, put_and_read_back
from worker.engine import Outcome, files
from worker.lease import Lease
from worker.tries import LEAVING_SECONDS, QUICK_SECONDS, patiently


def store_result(objects: ObjectStore, lease: Lease, outcome: Outcome, until: float) -> Output:
    """Store a picture and read it back, again and again while the store is away.

    Args:
        objects: the store.
        lease: the claim under whose fence it is stored.
        outcome: the picture.
        until: when patience ends, by the monotonic clock; one try is made in any case.

    Raises:
        StoppedError: the lease says stop; a result that is stored all the same is taken away again.
        StorageUnavailable: patience is at its end; likewise.
    """
    job, spec = lease.claim.job, lease.claim.job.spec
    data = files.encode(outcome.image, spec.output_format, spec.output_quality)
    output = Output(
        key=f"outputs/{job.uid}/{lease.claim.fence}.{files.EXTENSIONS[spec.output_format]}",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        width=outcome.image.shape[2],
        height=outcome.image.shape[1],
        content_type=files.CONTENT_TYPES[spec.output_format],
    )
    patiently(
        partial(put_and_read_back, objects, output.key, data, output.content_type),
        lease,
        until=max(until, time.monotonic() + QUICK_SECONDS),
        leaving_seconds=LEAVING_SECONDS,
        undo=partial(discard, objects, output.key),
    )
    return output


def discard(objects: ObjectStore, key: str) -> None:
    """Delete an object that nobody names; what stays behind is swept by a chore."""
    with suppress(StorageUnavailable):
        objects.delete(key)


def remove_others(objects: ObjectStore, claim: Claim, output: Output | None) -> None:
    """Remove what workers that were lost have stored of an ended job, but for its one result.

    Raises:
        StorageUnavailable: what stays behind is swept by a chore.
    """
    # Fences count the claims of all stages. A first claim has nothing to look for.
    claims = int(claim.fence.partition("-")[0])
    if claims > (2 if "fetch" in claim.job.seconds else 1):
        for stat in objects.list(f"outputs/{claim.job.uid}/"):
            if output is None or stat.key != output.key:
                objects.delete(stat.key)

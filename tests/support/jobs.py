"""Jobs for tests."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from shared.errors import StorageUnavailable
from shared.ids import new_id
from shared.jobs.buckets import bucket_for
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.record import Output, Queue
from shared.jobs.results import Claim
from shared.jobs.store import JobStore
from shared.spec import Spec

SPEC = Spec(backbone="compact", content_layers={"conv4_2": 1.0}, style_layers={"conv1_1": 1.0})
UNSTORED = StorageUnavailable("the object store does not answer")


def sha256(name: str) -> str:
    """A hash for a picture of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def clean(name: str) -> Picture:
    """A picture whose clean copy is stored."""
    return Picture(name, key=f"inputs/{sha256(name)}", sha256=sha256(name), width=64, height=48)


def output(claim: Claim) -> Output:
    """The result that an attempt would store."""
    return Output(f"outputs/{claim.job.uid}/{claim.fence}.png", sha256(claim.fence), 9, 64, 48, "image/png")


def bucket(record: Mapping[str, str]) -> str | None:
    """The bucket that a record should have, from its spec and content; None before its pictures are in."""
    return _bucket(record["spec"], record["content"])


@cache
def _bucket(spec: str, content: str) -> str | None:
    return bucket_for(Spec.model_validate_json(spec), Picture(**json.loads(content)))


def new_job(owner: str = "ann", **changes: Any) -> NewJob:
    """A job by URL, or with `skip_intake` one whose pictures are stored; any field can be given.

    It is painted for itself, alike as all of them are: give `fresh=False` for one that shares.
    """
    uid = new_id("job")
    skip = changes.get("skip_intake", False)
    pictures = [clean(n) if skip else Picture(f"https://example.org/{n}.jpg") for n in ("bridge", "starry")]
    fields: dict[str, Any] = {
        "uid": uid,
        "id": uid,
        "owner": owner,
        "spec": SPEC.model_copy(update={"backbone": changes.pop("backbone", "compact")}),
        "content": pictures[0],
        "styles": (pictures[1],),
        "metadata": {},
        "body_hash": sha256("body"),
        "skip_intake": skip,
        "deadline_seconds": 3600,
        "fresh": True,
    }
    return NewJob(**fields | changes)


def claim_intake(store: JobStore, worker: str = "intake-1") -> Claim:
    """The next job, claimed for intake."""
    claim = store.claim(Queue.INTAKE, worker)
    assert claim is not None
    return claim


def claim_paint(store: JobStore, worker: str = "paint-1", backbones: tuple[str, ...] = ("compact",)) -> Claim:
    """The next job, claimed for paint."""
    claim = store.claim(Queue.PAINT, worker, backbones)
    assert claim is not None
    return claim


def finish(store: JobStore, claim: Claim) -> None:
    """The attempt succeeds."""
    store.finish(claim, output(claim), seconds={"paint": 1.5}, evaluations=430, loss={"style": 0.25})

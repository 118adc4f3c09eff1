"""From a request to a record: what a body alone cannot say is checked here, and the job is written.

A backbone is chosen, uploads are looked up, data URIs are cleaned and kept. All faults of a request are
found before any is answered, and nothing is stored for a request that has one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.bodies import Parsed, escape
from api.catalogue import AUTO, BACKBONE_POINTER, choose
from api.models import DATA_SCHEME, UPLOAD_SCHEME, JobRequest
from api.problems import raise_all
from api.services import Services
from shared.backbones import BACKBONES, Backbone
from shared.errors import (
    BackboneUnavailable,
    InvalidRequest,
    PictureTooLarge,
    PictureUnreadable,
    StoreUnavailable,
    UploadNotFound,
)
from shared.ids import new_id
from shared.jobs.record import Job, NewJob, Picture
from shared.jobs.store import Submitted
from shared.pictures import CleanPicture, PictureLimits, clean, keep, parse_data_uri
from shared.spec import Spec, resolve, unresolvable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Name:
    """What a new job is called.

    Attributes:
        owner: whose it is.
        uid: the job's internal ID.
        id: the caller's ID for it, unique within the owner; the internal one where the caller brings none.
        idempotency_key: the request's, if it has one.
    """

    owner: str
    uid: str
    id: str
    idempotency_key: str | None = None

    @classmethod
    def made_here(cls, owner: str, idempotency_key: str | None) -> "Name":
        """A name for a job whose caller brings none."""
        uid = new_id("job")
        return cls(owner, uid, uid, idempotency_key)

    @classmethod
    def given(cls, owner: str, job_id: str) -> "Name":
        """A name for a job that its caller calls `job_id`."""
        return cls(owner, new_id("job"), job_id)


def submit(parsed: Parsed[JobRequest], name: Name, services: Services) -> Submitted:
    """Check the rest of a request, write its job and wake a worker.

    Raises:
        Faults: every fault of the request.
        Fault: the store refuses or does not answer.
    """
    try:
        spec = _spec(parsed, services)
        found = _look_up(parsed, name.owner, services)
    except StoreUnavailable:
        raise_all(parsed.faults)  # what is wrong already stays wrong once the store is back
        raise
    raise_all(parsed.faults)
    body = parsed.model
    if body is None or spec is None:
        raise AssertionError("a request without faults has a model and a spec")
    content, *styles = [
        keep(picture, services.store, services.objects) if isinstance(picture, CleanPicture) else picture
        for picture in found
    ]
    weights = [style.weight for style in body.weighted_styles]
    return _write(
        NewJob(
            uid=name.uid,
            id=name.id,
            owner=name.owner,
            spec=spec,
            content=content,
            styles=tuple(
                replace(picture, weight=weight) for picture, weight in zip(styles, weights, strict=True)
            ),
            metadata=body.metadata,
            body_hash=body.fingerprint,
            skip_intake=_all_clean([content, *styles]),
            deadline_seconds=body.deadline_seconds or services.settings.deadline_seconds,
            priority=body.priority,
            idempotency_key=name.idempotency_key,
        ),
        services,
    )


def resubmit(job: Job, name: Name, services: Services) -> Submitted:
    """Run an ended job again, as a new one on the same pictures and spec.

    Raises:
        BackboneUnavailable, InvalidRequest: no live worker offers its backbone any more; see `choose`.
    """
    choose(job.spec.backbone, services.painters)
    return _write(
        NewJob(
            uid=name.uid,
            id=name.id,
            owner=name.owner,
            spec=job.spec,
            content=job.content,
            styles=job.styles,
            metadata=job.metadata,
            body_hash=retry_hash(job),
            skip_intake=_all_clean([job.content, *job.styles]),
            deadline_seconds=job.deadline_at - job.created_at,
            priority=job.priority,
            idempotency_key=name.idempotency_key,
            retry_of=job.id,
        ),
        services,
    )


def retry_hash(job: Job) -> str:
    """What stands for the body of a retry, which has none."""
    return f"retry of {job.uid}"


def _write(job: NewJob, services: Services) -> Submitted:
    submitted = services.store.submit(job)
    if submitted.ring:
        try:
            services.ring(submitted.queue)
        except StoreUnavailable as fault:
            # The record is what counts; the reaper rings for what waits.
            log.warning("job %s is accepted, its bell was not rung: %s", job.id, fault.detail)
    return submitted


def _all_clean(pictures: Sequence[Picture]) -> bool:
    return all(picture.key for picture in pictures)


def _spec(parsed: Parsed[JobRequest], services: Services) -> Spec | None:
    """Resolve what is sound of the spec; faults are added to `parsed`."""
    given = parsed.tree.get("spec", {}) if isinstance(parsed.tree, dict) else {}
    if not isinstance(given, dict) or not parsed.sound(BACKBONE_POINTER):
        return None
    sound = {name: value for name, value in given.items() if parsed.sound(f"/spec/{escape(name)}")}
    backbone = _backbone(sound.get("backbone") or AUTO, parsed, services)
    if backbone is None:
        return None
    errors = [error for error in unresolvable(sound, backbone) if parsed.sound(f"/spec/{error.field}")]
    parsed.faults += [InvalidRequest(f"{error}.", pointer=f"/spec/{error.field}") for error in errors]
    return None if parsed.faults else resolve(sound, backbone)


def _backbone(name: str, parsed: Parsed[JobRequest], services: Services) -> Backbone | None:
    """The backbone that the spec is held against: one that is not available too, to find every fault."""
    try:
        return choose(name, services.painters)
    except (InvalidRequest, BackboneUnavailable) as fault:
        parsed.faults.append(fault)
        return BACKBONES.get(name)


def _look_up(parsed: Parsed[JobRequest], owner: str, services: Services) -> list[Picture | CleanPicture]:
    """Every picture of the request in order, content first; faults are added to `parsed`."""
    sources = list(_sources(parsed.tree))
    limit = services.settings.max_styles
    if len(sources) - 1 > limit and parsed.sound("/styles"):
        parsed.faults.append(InvalidRequest(f"A job may name {limit} styles here.", pointer="/styles"))
    found: list[Picture | CleanPicture] = []
    for pointer, source in sources:
        if parsed.sound(pointer):
            try:
                found.append(_picture(source, owner, services))
            except (UploadNotFound, PictureUnreadable, PictureTooLarge) as fault:
                fault.pointer = pointer
                parsed.faults.append(fault)
    return found


def _sources(tree: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Each image that the body names, with its JSON pointer. What is unsound is left to the caller."""
    if not isinstance(tree, dict):
        return
    yield "/content", tree.get("content")
    styles = tree.get("styles")
    for index, style in enumerate(styles if isinstance(styles, list) else ()):
        if isinstance(style, dict):
            yield f"/styles/{index}/image", style.get("image")
        else:
            yield f"/styles/{index}", style


def _picture(source: str, owner: str, services: Services) -> Picture | CleanPicture:
    if source.startswith(UPLOAD_SCHEME):
        picture = services.store.upload(owner, source.removeprefix(UPLOAD_SCHEME))
        if picture is None:
            raise UploadNotFound("There is no such upload, or it has expired; POST /v1/uploads gives an ID.")
        return replace(picture, source=source)
    if source.startswith(DATA_SCHEME):
        limits = PictureLimits.of(services.settings)
        return clean(parse_data_uri(source, services.settings.data_uri_bytes), limits)
    return Picture(source)

"""From a request to a record: what a body alone cannot say is checked here, and the job is written.

A backbone is chosen, uploads are looked up, data URIs are cleaned and kept. All faults of a request are
found before any is answered, and nothing is stored for a request that has one.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
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
    Fault,
    InvalidRequest,
    PictureTooLarge,
    PictureUnreadable,
    StoreUnavailable,
    UploadNotFound,
)
from shared.ids import new_id
from shared.jobs.record import Inputs, Job, NewJob, Picture, Status
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
        _check_init(parsed, spec)
        found = _look_up(parsed, name.owner, services)
    except StoreUnavailable:
        raise_all(parsed.faults)  # what is wrong already stays wrong once the store is back
        raise
    raise_all(parsed.faults)
    body = parsed.model
    if body is None or spec is None:
        raise AssertionError("a request without faults has a model and a spec")
    inputs = _inputs(body, found, services)
    return _write(
        NewJob(
            uid=name.uid,
            id=name.id,
            owner=name.owner,
            spec=spec,
            content=inputs.content,
            styles=inputs.styles,
            init=inputs.init,
            metadata=body.metadata,
            body_hash=body.fingerprint,
            skip_intake=inputs.stored,
            deadline_seconds=body.deadline_seconds or services.settings.deadline_seconds,
            priority=body.priority,
            idempotency_key=name.idempotency_key,
            fresh=body.fresh,
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
            init=job.init,
            metadata=job.metadata,
            body_hash=retry_hash(job),
            skip_intake=job.inputs.stored,
            deadline_seconds=job.deadline_at - job.created_at,
            priority=job.priority,
            idempotency_key=name.idempotency_key,
            retry_of=job.id,
            # Who runs again what succeeded wants another picture, not the one there is.
            fresh=job.fresh or job.status is Status.SUCCEEDED,
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


def _check_init(parsed: Parsed[JobRequest], spec: Spec | None) -> None:
    """A picture to start from goes with a spec that starts from one; faults are added to `parsed`."""
    tree = parsed.tree if isinstance(parsed.tree, dict) else {}
    given = tree.get("spec", {})
    if not (isinstance(given, dict) and parsed.sound("/spec/init") and parsed.sound("/init")):
        return
    wanted = spec.init if spec else given.get("init") or Spec().init
    if wanted == "picture" and tree.get("init") is None:
        remedy = "Name the picture to start from here, or set `spec.init` to content, style or noise."
        parsed.faults.append(InvalidRequest(remedy, pointer="/init"))
    elif wanted != "picture" and tree.get("init") is not None:
        remedy = (
            f"`spec.init` is {wanted}, so this picture would go unused: set it to picture, or leave this out."
        )
        parsed.faults.append(InvalidRequest(remedy, pointer="/init"))


def _look_up(parsed: Parsed[JobRequest], owner: str, services: Services) -> dict[str, Picture | CleanPicture]:
    """Every picture of the request by what names it, each looked at once; faults are added to `parsed`."""
    styles = parsed.tree.get("styles") if isinstance(parsed.tree, dict) else None
    limit = services.settings.max_styles
    if isinstance(styles, list) and len(styles) > limit and parsed.sound("/styles"):
        parsed.faults.append(InvalidRequest(f"A job may name {limit} styles here.", pointer="/styles"))
    looked_at: dict[str, Picture | CleanPicture | Fault] = {}
    for pointer, source in _sources(parsed.tree):
        if not parsed.sound(pointer):
            continue
        if source not in looked_at:
            looked_at[source] = _look_at(source, looked_at, owner, services)
        found = looked_at[source]
        if isinstance(found, Fault):
            parsed.faults.append(type(found)(found.detail, pointer=pointer))
    return {source: found for source, found in looked_at.items() if not isinstance(found, Fault)}


def _look_at(
    source: str, others: Collection[str], owner: str, services: Services
) -> Picture | CleanPicture | Fault:
    """One picture, or what is wrong with it. `others` were looked at before."""
    # A picture inside the request is decoded while its sender waits: as many as in one call for uploads.
    limit = services.settings.max_styles + 1
    if source.startswith(DATA_SCHEME) and sum(one.startswith(DATA_SCHEME) for one in others) >= limit:
        return InvalidRequest(
            f"A request may hold {limit} pictures as data URIs here; bring this one in by POST /v1/uploads."
        )
    try:
        return _picture(source, owner, services)
    except (UploadNotFound, PictureUnreadable, PictureTooLarge) as fault:
        return fault


def _sources(tree: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON
    """Each image that the body names, with its JSON pointer. What is unsound is left to the caller."""
    if not isinstance(tree, dict):
        return
    yield "/content", tree.get("content")
    styles = tree.get("styles")
    for index, style in enumerate(styles if isinstance(styles, list) else ()):
        if isinstance(style, dict):
            yield f"/styles/{index}/image", style.get("image")
            for part in ("mask", "region"):
                if style.get(part) is not None:
                    yield f"/styles/{index}/{part}", style[part]
        else:
            yield f"/styles/{index}", style
    if tree.get("init") is not None:
        yield "/init", tree["init"]


def _inputs(body: JobRequest, found: Mapping[str, Picture | CleanPicture], services: Services) -> Inputs:
    """The pictures of a request without faults; those that came inside it are stored."""
    kept = {
        source: keep(picture, services.store, services.objects)
        if isinstance(picture, CleanPicture)
        else picture
        for source, picture in found.items()
    }
    styles = (
        replace(
            kept[style.image],
            weight=style.weight,
            mask=kept[style.mask] if style.mask else None,
            region=kept[style.region] if style.region else None,
        )
        for style in body.weighted_styles
    )
    return Inputs(kept[body.content], tuple(styles), kept[body.init] if body.init else None)


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

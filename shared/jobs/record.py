"""A job's record: what the store keeps of one job, and the states it passes through.

The record is one Redis hash; this module is its only reader, and `new_job` writes it first. How it changes is
the business of the Lua scripts beside this file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from shared.errors import AttemptError, ErrorInfo
from shared.jobs.hashes import fields_of, from_json, made, optional, reading, seconds
from shared.jobs.pictures import Inputs, Picture, read_picture, read_pictures
from shared.spec import Spec

#: Version of the record's layout. A worker finishes records of earlier versions and leaves later ones
#: alone; what must be shown of them is read as well as it can be. The versions:
#: 1: the spec may lack fields that came later; no `init`, `bucket` or `batch`, no masks or regions.
#: 2: `attempt_errors` do not say when and by which worker; no `recipe`.
#: 3: no `batch_id`, `custom_id`, `webhook` or `fresh`; nothing is left out of a spec or of a picture.
#: 4: what a spec does not say is what was the default then: 370 `steps`.
#: 5: likewise: 320 `steps`.
#: 6: the present one. A spec says its `steps`; what else it does not say is the default of now: a default
#: that changes needs a new version, and `_spec` to say what it was (a test knows the defaults).
SCHEMA = 6

#: The default `steps` of schemas whose specs leave defaults out.
_STEPS = {3: 370, 4: 370, 5: 320}

#: Specs kept as read: those of many records are the same, and polls come again and again.
_KEPT_AS_READ = 2048


class Status(StrEnum):
    """Where a job is in its life. The last four are terminal and final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        """True when the job has ended."""
        return self not in (Status.QUEUED, Status.PROCESSING)


class Stage(StrEnum):
    """What part of the house a job that has not ended is in."""

    FETCHING = "fetching"
    WAITING = "waiting"
    PAINTING = "painting"
    STORING = "storing"


class Queue(StrEnum):
    """The stages that have workers: names of waiting sets, of Celery queues and of bells."""

    INTAKE = "intake"
    PAINT = "paint"
    CHORES = "chores"


@dataclass(frozen=True)
class Output:
    """The finished picture."""

    key: str
    sha256: str
    bytes: int
    width: int
    height: int
    content_type: str


@dataclass(frozen=True)
class PaintProgress:
    """How far painting has come."""

    step: int
    steps: int
    level: int
    levels: int
    loss: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Where a running job can be taken up again."""

    key: str
    step: int


@dataclass(frozen=True)
class Webhook:
    """Where a caller wants to be told of events.

    Attributes:
        url: of the receiver.
        events: types of those that it wants; none stands for all.
    """

    url: str
    events: tuple[str, ...] = ()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Webhook":
        """Read what `to_json` wrote."""
        return made(cls, {**plain, "events": tuple(plain.get("events", ()))})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's record as read from the store. Times are seconds since the epoch, by Redis' clock.

    Of what `NewJob` does not have:

    Attributes:
        bucket: which jobs it may be painted with; None before its pictures are in, and once it has ended.
        recipe: names what it makes of what (`recipe_of`), until it ends otherwise than well.
        following: True while it waits for another job that does the same work.
        reused_from: the caller's ID of the job whose output it shares; None where it was painted itself.
        output_expires_at: until when a job that has succeeded has its output.
    """

    uid: str
    id: str
    owner: str
    schema: int
    version: int
    status: Status
    stage: Stage | None
    spec: Spec
    content: Picture
    styles: tuple[Picture, ...]
    metadata: Mapping[str, str]
    body_hash: str
    priority: int
    attempt: int = 0
    attempt_errors: tuple[AttemptError, ...] = ()
    cancel_requested: bool = False
    created_at: float
    deadline_at: float
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    worker: str | None = None
    progress: PaintProgress | None = None
    checkpoint: Checkpoint | None = None
    preview_key: str | None = None
    preview_step: int | None = None
    output: Output | None = None
    error: ErrorInfo | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    evaluations: int | None = None
    batch: int | None = None
    loss: Mapping[str, float] = field(default_factory=dict)
    retry_of: str | None = None
    init: Picture | None = None
    batch_id: str | None = None
    custom_id: str | None = None
    webhook: Webhook | None = None
    webhook_off: bool = False
    fresh: bool = False
    bucket: str | None = None
    recipe: str | None = None
    following: bool = False
    reused_from: str | None = None
    retention_seconds: float | None = None
    output_expires_at: float | None = None
    request_id: str | None = None

    @property
    def inputs(self) -> Inputs:
        """Every picture that the job names."""
        return Inputs(self.content, self.styles, self.init)

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> "Job":
        """Read a record from its Redis hash.

        Raises:
            UnreadableRecordError: it does not say what it must.
        """
        with reading("job", fields):
            return cls._from_hash(fields)

    @classmethod
    def from_reply(cls, flat: Sequence[str]) -> "Job":
        """Read a record as a script returns it. Raises `UnreadableRecordError`."""
        return cls.from_hash(fields_of(flat))

    @classmethod
    def _from_hash(cls, fields: Mapping[str, str]) -> "Job":
        get = fields.get
        return cls(
            uid=fields["uid"],
            id=fields["id"],
            owner=fields["owner"],
            schema=int(fields["schema"]),
            version=int(fields["version"]),
            status=Status(fields["status"]),
            stage=Stage(fields["stage"]) if get("stage") else None,
            spec=_spec(fields["spec"], int(fields["schema"])),
            content=read_picture(fields["content"]),
            styles=read_pictures(fields["styles"]),
            metadata=json.loads(fields["metadata"]),
            body_hash=fields["body_hash"],
            priority=int(fields["priority"]),
            attempt=int(get("attempt") or 0),
            attempt_errors=tuple(made(AttemptError, e) for e in from_json(get("attempt_errors"), [])),
            cancel_requested=get("cancel_requested") == "1",
            created_at=int(fields["created_at"]) / 1000,
            deadline_at=int(fields["deadline_at"]) / 1000,
            started_at=seconds(get("started_at")),
            completed_at=seconds(get("completed_at")),
            expires_at=seconds(get("expires_at")),
            worker=get("worker") or None,
            progress=optional(PaintProgress, get("progress")),
            checkpoint=optional(Checkpoint, get("checkpoint")),
            preview_key=get("preview_key") or None,
            preview_step=int(step) if (step := get("preview_step")) else None,
            output=optional(Output, get("output")),
            error=optional(ErrorInfo, get("error")),
            seconds=from_json(get("seconds"), {}),
            evaluations=int(evaluations) if (evaluations := get("evaluations")) else None,
            batch=int(batch) if (batch := get("batch")) else None,
            loss=from_json(get("loss"), {}),
            retry_of=get("retry_of") or None,
            init=read_picture(init) if (init := get("init")) else None,
            batch_id=get("batch_id") or None,
            custom_id=get("custom_id") or None,
            webhook=Webhook.from_plain(json.loads(webhook)) if (webhook := get("webhook")) else None,
            webhook_off=get("webhook_off") == "1",
            fresh=get("fresh") == "1",
            retention_seconds=seconds(get("retention")),
            output_expires_at=seconds(get("output_expires_at")) or seconds(get("expires_at")),
            request_id=get("request_id") or None,
            bucket=get("bucket") or None,
            recipe=get("recipe") or None,
            following=get("following") == "1",
            reused_from=get("reused_from") or None,
        )


@lru_cache(_KEPT_AS_READ)
def _spec(text: str, schema: int) -> Spec:
    """A record's spec, in which what it does not say is what it meant when the record was written."""
    if schema == SCHEMA:
        return Spec.model_validate_json(text)
    plain: dict[str, Any] = json.loads(text)
    if schema > SCHEMA:
        return Spec.model_validate(
            {name: value for name, value in plain.items() if name in Spec.model_fields}
        )
    if schema in _STEPS:
        return Spec.model_validate({"steps": _STEPS[schema], **plain})
    # Gram matrices were all that could be matched before a spec named its style loss.
    return Spec.model_validate({"style_loss": "gram", **plain})

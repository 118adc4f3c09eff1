"""A job's record: what the store keeps of one job, and the states it passes through.

The record is one Redis hash; this module is its only reader. How it changes is the business of the Lua
scripts beside this file.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any, TypeVar

from shared.engine_version import ENGINE_VERSION
from shared.errors import AttemptError, ErrorInfo
from shared.jobs.buckets import bucket_of
from shared.jobs.eta import work_of
from shared.spec import Spec

#: Version of the record's layout. A worker finishes records of earlier versions and leaves later ones
#: alone; what must be shown of them is read as well as it can be. The versions:
#: 1: the spec may lack fields that came later; no `init`, `bucket` or `batch`, no masks or regions.
#: 2: `attempt_errors` do not say when and by which worker; no `recipe`.
#: 3: no `batch_id`, `custom_id`, `webhook` or `fresh`; nothing is left out of a spec or of a picture.
#: 4: the present one. What a spec does not say is the default of now: a default that changes needs a new
#: version, and `_spec` to say what it was (a test knows the defaults).
SCHEMA = 4

#: Specs and pictures kept as read: those of many records are the same, and polls come again and again.
_KEPT_AS_READ = 2048

T = TypeVar("T")


class UnreadableRecordError(ValueError):
    """A record does not say what it must: it was damaged, or is of a later version."""


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


def input_key(sha256: str) -> str:
    """The object key of a clean copy with this hash."""
    return f"inputs/{sha256}"


@dataclass(frozen=True)
class Picture:
    """An input picture: where it came from, and its clean copy once intake has made it.

    Attributes:
        source: as the caller wrote it: a URL, `upload:<id>`, or `data:` (the data itself is not kept here).
        weight: the style's share; 1 for what is no style.
        key: object key of the clean copy, `inputs/<sha256>`; None until intake has stored it.
        sha256: hash of the clean copy's bytes.
        width: pixels. height: pixels.
        mask: of a style: which part of it to learn from; None for all of it.
        region: of a style: which part of the content to paint with it; None for all of it.
    """

    source: str
    weight: float = 1.0
    key: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    mask: "Picture | None" = None
    region: "Picture | None" = None

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Picture":
        """Read what `to_json` wrote."""
        parts: dict[str, Any] = {
            name: cls.from_plain(plain[name]) for name in ("mask", "region") if name in plain
        }
        if "sha256" in plain and "key" not in plain:
            parts["key"] = input_key(plain["sha256"])
        return _made(cls, {**plain, **parts})

    def to_plain(self) -> dict[str, Any]:
        """What is kept of it: without what follows from the rest, since many thousands are kept."""
        plain = {name: part for name, part in vars(self).items() if part is not None}
        if self.sha256 is not None and self.key == input_key(self.sha256):
            del plain["key"]
        if self.weight == 1:
            del plain["weight"]
        return plain


@dataclass(frozen=True)
class Inputs:
    """Every picture that a job names.

    Attributes:
        content: the picture to repaint.
        styles: the pictures to repaint it after, each with its mask and region.
        init: the picture to start from; None where the spec starts from something else.
    """

    content: Picture
    styles: tuple[Picture, ...]
    init: Picture | None = None

    def each(self) -> Iterator[tuple[str, Picture]]:
        """The pictures one by one, each with its JSON pointer into the request."""
        yield "/content", self.content
        for index, style in enumerate(self.styles):
            yield f"/styles/{index}", style
            if style.mask:
                yield f"/styles/{index}/mask", style.mask
            if style.region:
                yield f"/styles/{index}/region", style.region
        if self.init:
            yield "/init", self.init

    def changed(self, change: Callable[[Picture], Picture]) -> "Inputs":
        """The same pictures after `change`, which leaves a style's mask and region to its own calls."""

        def style(picture: Picture) -> Picture:
            mask, region = (part and change(part) for part in (picture.mask, picture.region))
            return replace(change(picture), mask=mask, region=region)

        init = self.init and change(self.init)
        return Inputs(change(self.content), tuple(map(style, self.styles)), init)

    @property
    def stored(self) -> bool:
        """True when every picture has its clean copy, so that there is nothing to fetch."""
        return all(picture.key for _, picture in self.each())


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
        return _made(cls, {**plain, "events": tuple(plain.get("events", ()))})


@dataclass(frozen=True)
class NewJob:
    """What submit writes.

    Attributes:
        uid: internal ID, never reused (`shared.ids.new_id`).
        id: the caller's name for it, unique within the owner.
        body_hash: hash of the request, to tell a repeated PUT from a different one.
        skip_intake: True when every picture already has its clean copy.
        deadline_seconds: seconds from acceptance after which the job is ended.
        priority: 0 (last) to 9 (first), within an owner.
        idempotency_key: the caller's Idempotency-Key; the same key and body give the same job for 24 h.
        batch_id: uid of the batch that it is an item of.
        custom_id: what its caller calls it within its batch.
        webhook: who is to be told of its events.
        fresh: paint it for itself, even if the same picture is being painted or has been.
        retention_seconds: for which it is to be kept once it has ended, where that is less than the setting.
        request_id: of the request that made it, for the log; kept until the job ends.
    """

    uid: str
    id: str
    owner: str
    spec: Spec
    content: Picture
    styles: tuple[Picture, ...]
    metadata: Mapping[str, str]
    body_hash: str
    skip_intake: bool
    deadline_seconds: float
    priority: int = 0
    idempotency_key: str | None = None
    retry_of: str | None = None
    init: Picture | None = None
    batch_id: str | None = None
    custom_id: str | None = None
    webhook: Webhook | None = None
    fresh: bool = False
    retention_seconds: float | None = None
    request_id: str | None = None

    @property
    def inputs(self) -> Inputs:
        """Every picture that the job names."""
        return Inputs(self.content, self.styles, self.init)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job's record as read from the store. Times are seconds since the epoch, by Redis' clock.

    Of what `NewJob` does not have:

    Attributes:
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
        try:
            return cls._from_hash(fields)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            name, schema = fields.get("uid"), fields.get("schema")
            raise UnreadableRecordError(
                f"job {name}: its record of schema {schema} cannot be read"
            ) from error

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
            content=_picture(fields["content"]),
            styles=_pictures(fields["styles"]),
            metadata=json.loads(fields["metadata"]),
            body_hash=fields["body_hash"],
            priority=int(fields["priority"]),
            attempt=int(get("attempt") or 0),
            attempt_errors=tuple(_made(AttemptError, e) for e in _json(get("attempt_errors"), [])),
            cancel_requested=get("cancel_requested") == "1",
            created_at=int(fields["created_at"]) / 1000,
            deadline_at=int(fields["deadline_at"]) / 1000,
            started_at=_seconds(get("started_at")),
            completed_at=_seconds(get("completed_at")),
            expires_at=_seconds(get("expires_at")),
            worker=get("worker") or None,
            progress=_optional(PaintProgress, get("progress")),
            checkpoint=_optional(Checkpoint, get("checkpoint")),
            preview_key=get("preview_key") or None,
            preview_step=int(step) if (step := get("preview_step")) else None,
            output=_optional(Output, get("output")),
            error=_optional(ErrorInfo, get("error")),
            seconds=_json(get("seconds"), {}),
            evaluations=int(evaluations) if (evaluations := get("evaluations")) else None,
            batch=int(batch) if (batch := get("batch")) else None,
            loss=_json(get("loss"), {}),
            retry_of=get("retry_of") or None,
            init=_picture(init) if (init := get("init")) else None,
            batch_id=get("batch_id") or None,
            custom_id=get("custom_id") or None,
            webhook=Webhook.from_plain(json.loads(webhook)) if (webhook := get("webhook")) else None,
            webhook_off=get("webhook_off") == "1",
            fresh=get("fresh") == "1",
            retention_seconds=_seconds(get("retention")),
            output_expires_at=_seconds(get("output_expires_at")) or _seconds(get("expires_at")),
            request_id=get("request_id") or None,
            recipe=get("recipe") or None,
            following=get("following") == "1",
            reused_from=get("reused_from") or None,
        )


def new_record(job: NewJob) -> dict[str, str]:
    """A new job's hash, but for what the submitting script adds: its state, times and order."""
    spec = job.spec.model_dump_json()
    record = {
        "uid": job.uid,
        "id": job.id,
        "owner": job.owner,
        "schema": str(SCHEMA),
        "spec": job.spec.model_dump_json(exclude_defaults=True),
        "content": to_json(job.content),
        "styles": to_json(job.styles),
        "metadata": to_json(job.metadata),
        "body_hash": job.body_hash,
        "priority": str(job.priority),
        "lane": f"paint.{job.spec.backbone}",
        "recipe": _recipe(spec, job.inputs),
    }
    optional = {
        "retry_of": job.retry_of,
        "init": job.init and to_json(job.init),
        "batch_id": job.batch_id,
        "custom_id": job.custom_id,
        "webhook": job.webhook and to_json(job.webhook),
        "fresh": "1" if job.fresh else None,
        "retention": str(round(job.retention_seconds * 1000)) if job.retention_seconds else None,
        "idempotency_key": job.idempotency_key,
        "request_id": job.request_id,
        "bucket": bucket_for(job.spec, job.content) if job.skip_intake else None,
    }
    return record | {name: value for name, value in optional.items() if value}


def accepted(job: NewJob, recipe: str, added: Mapping[str, str]) -> Job:
    """A job just made, as `Job.from_hash` would read it: the store need not send back what it was sent.

    Args:
        job: what was written.
        recipe: likewise.
        added: fields of the record that the submitting script added.
    """
    return Job(
        uid=job.uid,
        id=job.id,
        owner=job.owner,
        schema=SCHEMA,
        version=int(added["version"]),
        status=Status(added["status"]),
        stage=Stage(added["stage"]),
        spec=job.spec,
        content=job.content,
        styles=job.styles,
        metadata=job.metadata,
        body_hash=job.body_hash,
        priority=job.priority,
        created_at=int(added["created_at"]) / 1000,
        deadline_at=int(added["deadline_at"]) / 1000,
        retry_of=job.retry_of,
        init=job.init,
        batch_id=job.batch_id,
        custom_id=job.custom_id,
        webhook=job.webhook,
        fresh=job.fresh,
        retention_seconds=job.retention_seconds,
        request_id=job.request_id,
        recipe=recipe,
    )


def bucket_for(spec: Spec, content: Picture) -> str | None:
    """The bucket of a job that is ready for paint; None where the size is not known: it is painted alone."""
    if content.width is None or content.height is None:
        return None
    return bucket_of(spec, content.width, content.height)


def work_for(spec: Spec, content: Picture) -> float | None:
    """What a job asks of its painter (`eta.work_of`); None where the size is not known."""
    if content.width is None or content.height is None:
        return None
    return work_of(spec, content.width, content.height)


def recipe_of(spec: Spec, inputs: Inputs) -> str:
    """Names what is made of what, and by which engine: equal for jobs that would do the same work.

    Pictures count by their content once all of them are in, before that by where they come from. Those that
    came inside a request all come from one place, so they count by their content always.
    """
    return _recipe(spec.model_dump_json(), inputs)


def _recipe(spec: str, inputs: Inputs) -> str:
    by_content = inputs.stored
    pictures = [
        [
            pointer,
            picture.weight,
            picture.sha256 if by_content or picture.source == "data:" else picture.source,
        ]
        for pointer, picture in inputs.each()
    ]
    text = f"{ENGINE_VERSION} {spec}{json.dumps(pictures)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def to_json(value: Any) -> str:  # noqa: ANN401 - any of the dataclasses above, sequences of them, or plain data
    """Compact JSON of a dataclass or plain data, as the record keeps it: fields that are None left out."""
    return _ENCODER.encode(value)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Picture):
        return value.to_plain()
    # In the order of the class, which the hashes of what is written depend on.
    return {name: part for name, part in vars(value).items() if part is not None}


#: Made once: `json.dumps` makes one for each call that wants anything but its defaults.
_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"), ensure_ascii=False)


def _json(text: str | None, default: Any) -> Any:  # noqa: ANN401
    return json.loads(text) if text else default


def _optional(kind: type[T], text: str | None) -> T | None:
    return _made(kind, json.loads(text)) if text else None


def _made(kind: type[T], plain: Mapping[str, Any]) -> T:
    """A dataclass from what `to_json` wrote; what only a later version knows is passed over."""
    known = _names(kind)  # type: ignore[arg-type] # classes are hashable
    return kind(**{name: value for name, value in plain.items() if name in known})


@cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(part.name for part in fields(kind))


@lru_cache(_KEPT_AS_READ)
def _picture(text: str) -> Picture:
    return Picture.from_plain(json.loads(text))


@lru_cache(_KEPT_AS_READ)
def _pictures(text: str) -> tuple[Picture, ...]:
    return tuple(map(Picture.from_plain, json.loads(text)))


@lru_cache(_KEPT_AS_READ)
def _spec(text: str, schema: int) -> Spec:
    """A record's spec, in which what it does not say is what it meant when the record was written."""
    if schema in (3, SCHEMA):
        return Spec.model_validate_json(text)
    plain: dict[str, Any] = json.loads(text)
    if schema > SCHEMA:
        return Spec.model_validate(
            {name: value for name, value in plain.items() if name in Spec.model_fields}
        )
    # Gram matrices were all that could be matched before a spec named its style loss.
    return Spec.model_validate({"style_loss": "gram", **plain})


def _seconds(milliseconds: str | None) -> float | None:
    return int(milliseconds) / 1000 if milliseconds else None

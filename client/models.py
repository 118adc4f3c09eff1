"""The service's answers as frozen dataclasses, and how to read them from JSON.

Fields that this version does not know are ignored, so that an older client works with a newer service;
`Job.raw` keeps the answer as it came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from client.errors import FieldError

#: A picture given by a caller: an http(s) URL, `upload:<id>`, a data URI, a file's path, or its bytes.
Image = str | Path | bytes

#: States that a job never leaves.
TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})

#: States that a batch never leaves.
BATCH_TERMINAL = frozenset({"completed", "failed", "canceled"})

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Style:
    """A style picture and its share among the styles of a job.

    Attributes:
        mask: a grey picture: white where the style picture is to be learnt from; None for all of it.
        region: a grey picture: white where the content is to be painted with it; None for all of it.
    """

    image: Image
    weight: float = 1.0
    mask: Image | None = None
    region: Image | None = None


#: A style as a caller may give it: the picture alone, with its weight, or a `Style`.
StyleLike = Image | tuple[Image, float] | Style
#: A receiver of events: its address, or the wire's `{"url": ..., "events": [...]}`.
WebhookLike = str | Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    """One job to hand in, as `submit` takes it; for `submit_many` and `batches`.

    Attributes:
        content: the picture to repaint.
        styles: one or more pictures to take the style from. May be empty in a batch whose defaults have them.
        init: the picture to start from; goes with `init` = `picture` in the spec.
        spec: what to do with them (fields of `shared.spec`, all optional).
        metadata: your own strings, kept with the job.
        priority: 0 (last) to 9 (first) among your own jobs.
        deadline_seconds: seconds from acceptance after which the job is not wanted any more.
        webhook: who is to be told of its events.
        fresh: True to have it painted even where the same has been painted before.
        id: your own ID for the job; not in a batch.
        custom_id: what you call it within its batch; unique there. In a batch only.
        idempotency_key: one of your own in place of one that is made; not in a batch.
    """

    content: Image
    styles: Sequence[StyleLike] = ()
    init: Image | None = None
    spec: Mapping[str, Any] | BaseModel | None = None
    metadata: Mapping[str, str] | None = None
    priority: int | None = None
    deadline_seconds: float | None = None
    webhook: WebhookLike | None = None
    fresh: bool | None = None
    id: str | None = None
    custom_id: str | None = None
    idempotency_key: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.styles, str | bytes):
            raise TypeError("styles is a sequence of pictures: put a single one in a list")


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded; `ref` names it in a job.

    Attributes:
        expires_at: when it is deleted; jobs that name it keep the picture for themselves.
    """

    id: str
    ref: str
    width: int | None = None
    height: int | None = None
    expires_at: datetime | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Upload":
        """Read an upload from the service's JSON."""
        size = data.get("width"), data.get("height")
        return cls(data["id"], data["image"], *size, _time(data.get("expires_at")))


@dataclass(frozen=True)
class Progress:
    """How far painting has come: evaluations of the network, and the level of the pyramid.

    Attributes:
        loss: the loss terms by name, `total` among them.
    """

    step: int
    steps: int
    level: int | None = None
    levels: int | None = None
    loss: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """The finished picture. The URL may expire; a later poll has a fresh one."""

    url: str
    sha256: str
    content_type: str
    width: int | None = None
    height: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class JobError:
    """Why a job ended without a picture."""

    code: str
    title: str
    detail: str = ""
    pointer: str | None = None


@dataclass(frozen=True)
class AttemptError(JobError):
    """Why one attempt at a job failed.

    Attributes:
        stage: what the attempt was doing.
        attempt: its number among those of `fetching`, or of painting and storing.
        at: when it failed.
    """

    stage: str | None = None
    attempt: int | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Job:
    """A job as the service last told it.

    Attributes:
        status: queued, processing, succeeded, failed, canceled or expired.
        stage: fetching, waiting, painting or storing; None once the job has ended.
        queue_position: 1-based place among what waits; None when the job does not wait.
        attempt_errors: what went wrong in each attempt that failed, oldest first.
        attempt: attempts that the present stage has begun.
        cancel_requested: True from a cancel until the worker has stopped.
        retry_of: ID of the job that this one repeats.
        batch: ID of the batch that it is an item of. custom_id: what its caller calls it there.
        reused_from: ID of the job whose picture this one shares, as both asked for the same.
        spec: the resolved spec.
        urls: addresses of everything that belongs to the job, by name.
        metrics: seconds a stage, evaluations, jobs painted together and final loss, once painted.
        raw: the answer as it came.
    """

    id: str
    status: str
    stage: str | None = None
    queue_position: int | None = None
    progress: Progress | None = None
    output: Output | None = None
    error: JobError | None = None
    attempt_errors: tuple[AttemptError, ...] = ()
    attempt: int = 0
    priority: int = 0
    cancel_requested: bool = False
    retry_of: str | None = None
    batch: str | None = None
    custom_id: str | None = None
    reused_from: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deadline_at: datetime | None = None
    expires_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """True when the job will not change any more."""
        return self.status in TERMINAL

    @property
    def succeeded(self) -> bool:
        """True when there is a picture to download."""
        return self.status == "succeeded"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Job":
        """Read a job from the service's JSON."""
        progress, output, error = data.get("progress"), data.get("output"), data.get("error")
        return cls(
            id=data["id"],
            status=data["status"],
            stage=data.get("stage"),
            queue_position=(data.get("queue") or _NOTHING).get("position"),
            progress=_progress(progress) if progress else None,
            output=_output(output) if output else None,
            error=_error(error) if error else None,
            attempt_errors=tuple(map(_attempt_error, data.get("attempt_errors") or ())),
            attempt=data.get("attempt") or 0,
            priority=data.get("priority") or 0,
            cancel_requested=bool(data.get("cancel_requested")),
            retry_of=data.get("retry_of"),
            batch=data.get("batch"),
            custom_id=data.get("custom_id"),
            reused_from=data.get("reused_from"),
            created_at=_time(data.get("created_at")),
            started_at=_time(data.get("started_at")),
            completed_at=_time(data.get("completed_at")),
            deadline_at=_time(data.get("deadline_at")),
            expires_at=_time(data.get("expires_at")),
            metadata=data.get("metadata") or {},
            spec=data.get("spec") or {},
            urls={name: url for name, url in (data.get("urls") or {}).items() if url},
            metrics=data.get("metrics") or {},
            raw=data,
        )


@dataclass(frozen=True)
class Outcome:
    """What came of one request of `submit_many`.

    Attributes:
        request: what was handed in.
        job: the accepted job; None where it was refused.
        error: why it was refused; None where it was accepted.
    """

    request: Request
    job: Job | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Event:
    """Something that the service told of a job or a batch.

    Attributes:
        type: what kind of thing.
        data: the JSON that came with it.
        id: what the stream goes on after; None where the event has none.
    """

    type: str
    data: Mapping[str, Any]
    id: str | None = None


@dataclass(frozen=True)
class Counts:
    """Items of a batch by status."""

    total: int = 0
    queued: int = 0
    processing: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def ended(self) -> int:
        """Items that will not change any more."""
        return self.succeeded + self.failed + self.canceled + self.expired

    @property
    def open(self) -> int:
        """Items that have not ended."""
        return self.total - self.ended


@dataclass(frozen=True)
class Batch:
    """A batch as the service last told it.

    Attributes:
        status: validating, processing, and then for good completed, failed or canceled.
        eta_seconds: seconds until its last item ends, as far as can be foretold.
        throughput_per_minute: items that end in a minute, of late.
        errors: faults of its lines, where it was found wanting in the background.
        error: why no more jobs are made of it, where the service has lost lines of it.
        retry_of: ID of the batch whose items this one repeats.
        urls: addresses of everything that belongs to it, by name.
        raw: the answer as it came.
    """

    id: str
    status: str
    counts: Counts = field(default_factory=Counts)
    eta_seconds: float | None = None
    throughput_per_minute: float | None = None
    errors: tuple[FieldError, ...] = ()
    error: JobError | None = None
    retry_of: str | None = None
    cancel_requested: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    urls: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """True when the batch will not change any more."""
        return self.status in BATCH_TERMINAL

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Batch":
        """Read a batch from the service's JSON."""
        counts = data.get("counts") or _NOTHING
        return cls(
            id=data["id"],
            status=data["status"],
            counts=Counts(**{name: counts.get(name) or 0 for name in _COUNTS}),
            eta_seconds=data.get("eta_seconds"),
            throughput_per_minute=data.get("throughput_per_minute"),
            errors=tuple(
                FieldError(fault.get("pointer") or "", fault.get("detail") or "", fault.get("line"))
                for fault in data.get("errors") or ()
            ),
            error=_error(error) if (error := data.get("error")) else None,
            retry_of=data.get("retry_of"),
            cancel_requested=bool(data.get("cancel_requested")),
            metadata=data.get("metadata") or {},
            created_at=_time(data.get("created_at")),
            completed_at=_time(data.get("completed_at")),
            expires_at=_time(data.get("expires_at")),
            urls={name: url for name, url in (data.get("urls") or {}).items() if url},
            raw=data,
        )


@dataclass(frozen=True)
class Result:
    """What came of one item of a batch: a line of its results.

    Attributes:
        index: the item's place in the batch, from 0.
        job: ID of the item's job; None where there is none yet, or none any more.
        status: the job's; None where it was deleted.
        raw: the line as it came.
    """

    index: int
    custom_id: str | None
    job: str | None
    status: str | None
    output: Output | None = None
    error: JobError | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Result":
        """Read a line of results."""
        output, error = data.get("output"), data.get("error")
        return cls(
            index=data["index"],
            custom_id=data.get("custom_id"),
            job=data.get("id"),
            status=data.get("status"),
            output=_output(output) if output else None,
            error=_error(error) if error else None,
            raw=data,
        )


_COUNTS = tuple(one.name for one in fields(Counts))


@dataclass(frozen=True)
class BackboneInfo:
    """A feature network that a spec can name.

    Attributes:
        available: True when a live worker offers it.
        layers: names for `content_layers` and `style_layers`, shallow to deep.
    """

    name: str
    description: str
    available: bool
    layers: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class PresetInfo:
    """A named spec: what differs from the defaults."""

    name: str
    description: str
    spec: Mapping[str, Any] = field(default_factory=dict)


def _progress(data: Mapping[str, Any]) -> Progress:
    return Progress(
        step=data["step"],
        steps=data["steps"],
        level=data.get("level"),
        levels=data.get("levels"),
        loss=data.get("loss") or {},
    )


def _output(data: Mapping[str, Any]) -> Output:
    return Output(
        url=data["url"],
        sha256=data["sha256"],
        content_type=data["content_type"],
        width=data.get("width"),
        height=data.get("height"),
        bytes=data.get("bytes"),
    )


def _error(data: Mapping[str, Any]) -> JobError:
    return JobError(
        code=data["code"],
        title=data.get("title") or data["code"],
        detail=data.get("detail") or "",
        pointer=data.get("pointer"),
    )


def _attempt_error(data: Mapping[str, Any]) -> AttemptError:
    error = _error(data)
    return AttemptError(
        error.code,
        error.title,
        error.detail,
        error.pointer,
        stage=data.get("stage"),
        attempt=data.get("attempt"),
        at=_time(data.get("at")),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

"""The service's answers as frozen dataclasses, and how to read them from JSON.

Fields that this version does not know are ignored, so that an older client works with a newer service;
`Job.raw` keeps the answer as it came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

#: A picture given by a caller: an http(s) URL, `upload:<id>`, a data URI, a file's path, or its bytes.
Image = str | Path | bytes

#: States that a job never leaves.
TERMINAL = frozenset({"succeeded", "failed", "canceled", "expired"})

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


@dataclass(frozen=True)
class Upload:
    """A picture that was uploaded; `ref` names it in a job."""

    id: str
    ref: str
    width: int | None = None
    height: int | None = None


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

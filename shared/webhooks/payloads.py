"""The bodies of events: `{type, timestamp, data}`, of which `data` is the compact form of a job or a batch.

Each body follows from what does not change once the event has happened, so that every attempt sends the same
bytes: a job's ID, names and times, and from a final record its output or error. Fields are called what a poll
calls them, and mean the same; `version` is new and rises with each change of the job or batch, so that a
receiver can put events into their order. The rest is a poll away, at `urls.self`.
"""

from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from shared.errors import ErrorInfo
from shared.jobs.batch_record import Batch
from shared.jobs.record import Job, Status
from shared.timestamps import Timestamp, maybe_timestamp, timestamp
from shared.webhooks.events import TEST_EVENT, BatchEvent, JobEvent


class Payload(BaseModel):
    """Base of everything that is sent."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class EventOutput(Payload):
    """The finished picture."""

    url: str
    """Where to get it, with the token that the job was submitted with."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    bytes: int
    """Size of the file."""

    sha256: str
    """Hash of the file."""

    content_type: str
    """Media type of the file."""


class EventError(Payload):
    """Why a job has no picture."""

    code: str
    """Stable identifier for programs."""

    title: str
    """One line, the same for every error of this code."""

    detail: str
    """What went wrong, and what to do about it."""

    pointer: str | None
    """JSON pointer to the field of the request that was at fault, where there is one."""


class EventUrls(Payload):
    """Where to go from here; paths alone where the service does not know its own (`IMPASTO_PUBLIC_URL`)."""

    self: str
    """GET everything about the job or batch."""

    output: str | None = None
    """GET the finished picture of a job."""

    items: str | None = None
    """GET the items of a batch."""

    results: str | None = None
    """GET the results of a batch, a line an item."""


class JobData(Payload):
    """A job, as it was when the event happened."""

    id: str
    """The job's ID."""

    status: Status
    """Where the job was in its life."""

    stage: Literal["painting"] | None
    """What a job that had not ended was doing."""

    custom_id: str | None
    """What its caller calls it within its batch."""

    batch: str | None
    """The batch that it is an item of."""

    metadata: dict[str, str]
    """What the caller attached."""

    output: EventOutput | None
    """The finished picture; null unless the job has succeeded."""

    error: EventError | None
    """Why there is no picture; null unless the job failed, expired or ran past its deadline."""

    attempt: int
    """Attempts that its last stage had begun."""

    retry_of: str | None
    """ID of the job that this one repeats."""

    reused_from: str | None
    """ID of the job whose output this one shares; null for one that was painted itself."""

    created_at: Timestamp
    """When the job was accepted."""

    started_at: Timestamp | None
    """When painting began."""

    completed_at: Timestamp | None
    """When the job ended."""

    output_expires_at: Timestamp | None
    """Until when a job that has succeeded has its output; get it before."""

    expires_at: Timestamp | None
    """When the ended job is deleted."""

    version: int
    """Rises with each change of the job: of two events, the one with the higher version is the later."""

    urls: EventUrls
    """Where to go from here."""


class EventCounts(Payload):
    """Items of a batch by status."""

    total: int
    """All items."""

    queued: int
    """Waiting."""

    processing: int
    """Being painted."""

    succeeded: int
    """Painted."""

    failed: int
    """Ended with an error."""

    canceled: int
    """Canceled."""

    expired: int
    """Not begun before their deadline."""


class BatchData(Payload):
    """A batch, as it was when it ended."""

    id: str
    """The batch's ID."""

    status: Literal["completed", "failed", "canceled"]
    """How it ended."""

    counts: EventCounts
    """Its items by status."""

    error: EventError | None
    """Why no more jobs were made of it: lines of it were lost. Null unless that has happened."""

    metadata: dict[str, str]
    """What the caller attached."""

    retry_of: str | None
    """ID of the batch whose items this one repeats."""

    created_at: Timestamp
    """When the batch was accepted."""

    completed_at: Timestamp | None
    """When the batch ended."""

    expires_at: Timestamp | None
    """When it is deleted with its jobs."""

    version: int
    """Rises with each change of the batch."""

    urls: EventUrls
    """Where to go from here."""


class GreetingData(Payload):
    """Nothing has happened."""

    message: str
    """For whoever reads it."""


class JobMessage(Payload):
    """Something has happened to a job."""

    type: JobEvent
    """What."""

    timestamp: Timestamp
    """When."""

    data: JobData
    """The job."""


class BatchMessage(Payload):
    """A batch has ended."""

    type: BatchEvent
    """How."""

    timestamp: Timestamp
    """When."""

    data: BatchData
    """The batch."""


class GreetingMessage(Payload):
    """What a test sends."""

    type: Literal["webhook.test"]
    """Always this."""

    timestamp: Timestamp
    """When the test was asked for."""

    data: GreetingData
    """A greeting."""


def job_message(event: JobEvent, at: float, version: int, job: Job, base: str) -> JobMessage:
    """What a job's receiver is told.

    Args:
        event: what has happened.
        at: when, in seconds since the epoch.
        version: the record's, then.
        job: the record as it is now.
        base: the API's address, without a slash at its end; "" where it is not known.
    """
    processing = event is JobEvent.PROCESSING
    this = f"{base}/v1/jobs/{quote(job.id)}"
    output, error = (None, None) if processing else (job.output, job.error)
    data = JobData(
        id=job.id,
        status=Status(event.removeprefix("job.")),
        stage="painting" if processing else None,
        custom_id=job.custom_id,
        batch=job.batch_id,
        metadata=dict(job.metadata),
        output=EventOutput(
            url=f"{this}/output",
            width=output.width,
            height=output.height,
            bytes=output.bytes,
            sha256=output.sha256,
            content_type=output.content_type,
        )
        if output
        else None,
        error=_error(error),
        # Painting begins with its first attempt; later ones are not told of.
        attempt=1 if processing else job.attempt,
        retry_of=job.retry_of,
        reused_from=None if processing else job.reused_from,
        created_at=timestamp(job.created_at),
        started_at=maybe_timestamp(job.started_at),
        completed_at=None if processing else maybe_timestamp(job.completed_at),
        output_expires_at=maybe_timestamp(job.output_expires_at) if output else None,
        expires_at=None if processing else maybe_timestamp(job.expires_at),
        version=version,
        urls=EventUrls(self=this, output=f"{this}/output" if output else None),
    )
    return JobMessage(type=event, timestamp=timestamp(at), data=data)


def batch_message(event: BatchEvent, at: float, version: int, batch: Batch, base: str) -> BatchMessage:
    """What a batch's receiver is told.

    Args:
        event: what has happened.
        at: when, in seconds since the epoch.
        version: the record's, then.
        batch: the record, which is final by then.
        base: as in `job_message`.
    """
    this = f"{base}/v1/batches/{quote(batch.id)}"
    counts = {str(status): number for status, number in batch.counts.items()}
    if batch.cancel_requested:
        counts[Status.CANCELED] += batch.unmade
    data = BatchData(
        id=batch.id,
        status=event.removeprefix("batch."),
        counts=EventCounts(total=batch.total, **counts),
        error=_error(batch.error),
        metadata=dict(batch.metadata),
        retry_of=batch.retry_of,
        created_at=timestamp(batch.created_at),
        completed_at=maybe_timestamp(batch.completed_at),
        expires_at=maybe_timestamp(batch.expires_at),
        version=version,
        urls=EventUrls(self=this, items=f"{this}/items", results=f"{this}/results.ndjson"),
    )
    return BatchMessage(type=event, timestamp=timestamp(at), data=data)


def _error(error: ErrorInfo | None) -> EventError | None:
    if error is None:
        return None
    return EventError(code=error.code, title=error.title, detail=error.detail, pointer=error.pointer)


def greeting_message(at: float) -> GreetingMessage:
    """What a test sends."""
    return GreetingMessage(
        type=TEST_EVENT,
        timestamp=timestamp(at),
        data=GreetingData(message="Impasto can reach this receiver."),
    )

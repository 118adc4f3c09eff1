"""What the API answers of batches."""

from typing import Literal

from pydantic import Field

from api.jobs.views import JobError, JobView, OutputView
from api.views import Url, View
from shared.jobs.batch_record import BatchStatus
from shared.jobs.record import Status
from shared.timestamps import Timestamp


class BatchCounts(View):
    """Items by status.

    Those that are no jobs yet count as queued, those that a cancel keeps from becoming any as canceled. Where
    lines were refused or lost, the items without a job count in the total only.
    """

    total: int
    """All items."""

    queued: int
    """Waiting for a worker, or for their pictures."""

    processing: int
    """Being painted."""

    succeeded: int
    """Painted."""

    failed: int
    """Ended with an error."""

    canceled: int
    """Stopped."""

    expired: int
    """Not begun before their deadline."""


class LineError(View):
    """One fault of a batch that failed its check."""

    line: int
    """The line of the NDJSON body, from 1."""

    pointer: str
    """JSON pointer into the object on that line."""

    detail: str
    """What is wrong, and what would be right."""


class BatchUrls(View):
    """Addresses that belong to the batch."""

    self: Url
    """The batch: GET it, or DELETE it once it has ended."""

    items: Url
    """GET its jobs, page by page."""

    results: Url
    """GET one line an item: what has become of it."""

    errors: Url
    """GET one line a fault, of a batch that failed its check."""

    archive: Url
    """GET the pictures as one ZIP file."""

    cancel: Url
    """POST to cancel."""

    retry: Url
    """POST to run what did not succeed of an ended batch again, as a new batch."""

    events: Url
    """GET what happens to it, as it happens."""


class BatchView(View):
    """A batch of jobs. It has ended when `status` is completed, failed or canceled."""

    id: str
    """The batch's ID."""

    status: BatchStatus
    """Where the batch is in its life: `failed`: its lines were refused or lost, not that jobs failed."""

    counts: BatchCounts
    """Items by status."""

    eta_seconds: float | None = Field(ge=0)
    """Seconds until the last item has ended, at the present rate; null while no rate is known, and where all
    that is left waits for the pictures of other jobs."""

    throughput_per_minute: float | None = Field(ge=0)
    """Items that ended per minute, over the last five minutes, but for those that share another's picture;
    null while none has."""

    errors: list[LineError]
    """The first faults of a batch that failed its check; `urls.errors` has all of them."""

    error: JobError | None
    """Why no more jobs are made of it: lines of it were lost. Null unless that has happened."""

    retry_of: str | None
    """ID of the batch whose items this one tries again."""

    cancel_requested: bool
    """True from a cancel request on."""

    metadata: dict[str, str]
    """What the caller attached."""

    created_at: Timestamp
    """When the batch was accepted."""

    completed_at: Timestamp | None
    """When the batch ended."""

    expires_at: Timestamp | None
    """When an ended batch and what is left of its jobs are deleted."""

    urls: BatchUrls
    """Where to go from here; there is no need to build an address."""


class BatchList(View):
    """Some of the owner's batches, newest first."""

    batches: list[BatchView]
    """The batches of this page."""

    next_page_token: str | None
    """What `page_token` asks for the next page with; null on the last."""

    next_url: Url | None
    """Address of the next page; null on the last."""


class ItemPage(View):
    """Some of a batch's jobs, in the order of its items."""

    items: list[JobView]
    """The jobs of this page."""

    next_page_token: str | None
    """What `page_token` asks for the next page with; null on the last."""

    next_url: Url | None
    """Address of the next page; null on the last."""


class ArchiveView(View):
    """An archive that is being built."""

    status: Literal["building"] = "building"
    """Always `building`; once it is built the archive itself is answered."""

    done: int
    """Items that are in it so far."""

    total: int
    """Items of the batch."""


class ResultLine(View):
    """One line of `results.ndjson`: an item of a batch."""

    index: int
    """The item's place in the batch, from 0."""

    custom_id: str | None
    """What the caller calls the item."""

    id: str | None
    """Its job's ID; null where there is none, or none any more."""

    status: Status | None
    """Its job's status; null once the job was deleted, and where its line was refused or is lost."""

    output: OutputView | None
    """The finished picture; null unless the job has succeeded."""

    error: JobError | None
    """Why there is no picture; null unless the job failed or ran past its deadline."""

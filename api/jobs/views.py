"""What the API answers of jobs."""

from pydantic import Field

from api.views import Url, View
from shared.jobs.record import Stage, Status
from shared.spec import Spec
from shared.timestamps import Timestamp


class PictureView(View):
    """An input picture."""

    image: str
    """As the request named it; `data:` for a picture sent inside the request."""

    weight: float
    """The style's share; 1 for what is no style."""

    width: int | None
    """Width in pixels, once the picture has been fetched."""

    height: int | None
    """Height in pixels, once the picture has been fetched."""

    sha256: str | None
    """Hash of the cleaned copy, once the picture has been fetched."""


class StyleView(PictureView):
    """A style picture, and where it counts."""

    mask: PictureView | None
    """Which part of it is learnt from; null for all of it."""

    region: PictureView | None
    """Which part of the content is painted with it; null for all of it."""


class OutputView(View):
    """The finished picture."""

    url: Url
    """Where to get it: answers with the picture or redirects to it."""

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


class Progress(View):
    """How far painting has come."""

    fraction: float = Field(ge=0, le=1)
    """Share of the steps that are done."""

    step: int
    """Evaluations of the network done, over all levels."""

    steps: int
    """Evaluations in all."""

    level: int
    """Level of the pyramid being painted."""

    levels: int
    """Levels in all."""

    loss: dict[str, float]
    """Latest value of each term of the loss."""

    eta_seconds: float | None = None
    """Seconds until the picture is expected to be there; null in lists, and while nothing is known."""


class Place(View):
    """A job's place among those that wait."""

    position: int = Field(ge=1)
    """1 is the next to be taken up, as far as can be foretold."""

    eta_seconds: float | None = None
    """Seconds until the picture is expected to be there; null while nothing is known."""


class JobError(View):
    """Why a job ended without a picture."""

    code: str
    """Stable identifier for programs."""

    title: str
    """One line, the same for every error of this code."""

    detail: str
    """What went wrong, and what to do about it."""

    pointer: str | None
    """JSON pointer to the field of the request that was at fault, where there is one."""


class FailedAttemptError(JobError):
    """Why one attempt failed that, but for its number, was followed by another."""

    stage: Stage | None
    """What the attempt was doing; null in the records of an early version, as are `attempt` and `at`."""

    attempt: int | None
    """Its number among the attempts of `fetching`, or of painting and storing."""

    at: Timestamp | None
    """When it failed."""


class Urls(View):
    """Addresses that belong to the job."""

    self: Url
    """The job: GET it, or DELETE it once it has ended."""

    cancel: Url
    """POST to cancel."""

    retry: Url
    """POST to run an ended job again, as a new job."""

    events: Url
    """GET to be told of each change as it happens (server-sent events)."""

    preview: Url
    """GET the latest preview (JPEG) while it is being painted."""

    output: Url
    """GET the finished picture."""


class OutputAddress(View):
    """Where a finished picture is."""

    url: Url
    """GET the picture here: a signed address that is valid for a while, or this API's own, which asks for the
    token."""


class WebhookView(View):
    """Who is told of events."""

    url: str
    """The receiver."""

    events: list[str]
    """Types of the events that it is told of; empty for all."""

    disabled: bool
    """True once it has answered 410: it is told no more of this."""


class Metrics(View):
    """What an ended job has cost."""

    seconds: dict[str, float]
    """Seconds by part: fetch, wait, paint, store."""

    evaluations: int | None
    """Evaluations of the network."""

    batch: int | None
    """Jobs that were painted together, this one included."""

    loss: dict[str, float]
    """Final value of each term of the loss."""


class JobView(View):
    """A job. It has ended when `status` is succeeded, failed, canceled or expired."""

    id: str
    """The job's ID."""

    status: Status
    """Where the job is in its life."""

    stage: Stage | None
    """What a job that has not ended is doing."""

    progress: Progress | None
    """How far painting has come; null before it begins."""

    queue: Place | None
    """The job's place while it waits; null when it does not, and in lists."""

    output: OutputView | None
    """The finished picture; null until the job has succeeded."""

    output_expires_at: Timestamp | None
    """When the picture is deleted; once it has been, `output` is null again. Null where there was none."""

    error: JobError | None
    """Why the job has no picture; null unless it failed, expired or ran past its deadline."""

    spec: Spec
    """What is painted and how, with every default filled in."""

    content: PictureView
    """The picture that is repainted."""

    styles: list[StyleView]
    """The pictures it is repainted after."""

    init: PictureView | None
    """The picture that painting starts from; null unless `spec.init` is `picture`."""

    attempt: int
    """Attempts that the present stage has begun; more than one after an infrastructure fault."""

    attempt_errors: list[FailedAttemptError]
    """What went wrong in each attempt that failed, oldest first. One that was lost with others in a batch, or
    because the service's store was away, used up none of the few there are."""

    priority: int
    """0 (last) to 9 (first), among the owner's own jobs."""

    cancel_requested: bool
    """True from a cancel request until the worker has stopped."""

    retry_of: str | None
    """ID of the job that this one repeats."""

    reused_from: str | None
    """ID of the job whose picture this one shares, since it would have made the same; null where it was
    painted for this job. That job may be deleted by now: the picture stays as long as any job has it."""

    batch: str | None
    """ID of the batch that the job is an item of."""

    custom_id: str | None
    """What the caller calls the job within its batch."""

    created_at: Timestamp
    """When the job was accepted."""

    started_at: Timestamp | None
    """When painting began."""

    completed_at: Timestamp | None
    """When the job ended."""

    deadline_at: Timestamp
    """When the job is ended if it has not by then."""

    expires_at: Timestamp | None
    """When an ended job and its picture are deleted."""

    metadata: dict[str, str]
    """What the caller attached."""

    webhook: WebhookView | None
    """Who is told of the job's events."""

    urls: Urls
    """Where to go from here; there is no need to build an address."""

    metrics: Metrics | None
    """What the job has cost; null until it has ended."""


class PreviewVersion(View):
    """The latest preview, at an address that changes with it."""

    url: Url
    """GET the picture (JPEG)."""

    version: int
    """The step that it shows."""


class JobEvent(View):
    """What each event `job` of a stream says; the first and the last say all that a poll does too."""

    id: str
    """The job's ID."""

    status: Status
    """Where the job is in its life."""

    stage: Stage | None
    """What a job that has not ended is doing."""

    progress: Progress | None
    """How far painting has come."""

    queue: Place | None
    """The job's place while it waits, where it has just been looked up."""

    version: int
    """Greater with each change of the job."""

    preview: PreviewVersion | None
    """The latest preview."""


class JobPage(View):
    """Some of the owner's jobs, newest first."""

    jobs: list[JobView]
    """The jobs of this page."""

    next_page_token: str | None
    """What `page_token` asks for the next page with; null on the last."""

    next_url: Url | None
    """Address of the next page; null on the last."""

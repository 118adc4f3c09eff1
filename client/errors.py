"""What can go wrong for a caller: one class each, all of them `ImpastoError`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from client.models import Batch, Job


class ImpastoError(Exception):
    """Any error of this client."""


@dataclass(frozen=True)
class FieldError:
    """One fault of a refused request.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the field in the request; empty for the request as a whole.
        detail: what is wrong with it.
        line: the line of an NDJSON request, from 1; None elsewhere.
    """

    pointer: str
    detail: str
    line: int | None = None


class ApiError(ImpastoError):
    """The service refused or failed a request and said why (an RFC 9457 problem).

    Attributes:
        status: HTTP status.
        code: stable identifier for programs, such as `invalid_request`.
        title: one line for people, the same for every occurrence.
        detail: what happened this time.
        errors: every fault of the request, each with its pointer.
        request_id: what to quote when asking the operator.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        detail: str = "",
        errors: Sequence[FieldError] = (),
        request_id: str | None = None,
    ) -> None:
        super().__init__(f"{title} ({status} {code})" + (f": {detail}" if detail else ""))
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.request_id = request_id


class UnreachableError(ImpastoError):
    """No connection, or no answer in time, after every attempt."""


class UnsendableError(ImpastoError, ValueError):
    """What a caller gave fits no request, whatever the service: nothing was sent of it."""


class JobFailed(ImpastoError):  # noqa: N818 - named for what happened to the job
    """The job ended without a picture: failed, canceled or expired.

    Attributes:
        job: the job as it ended; `job.error` says why.
    """

    def __init__(self, job: "Job") -> None:
        reason = f": {job.error.detail or job.error.title}" if job.error else ""
        super().__init__(f"job {job.id} {job.status}{reason}")
        self.job = job


class UnfinishedError(ImpastoError):
    """The job has no picture yet.

    Attributes:
        job: the job as it is now.
    """

    def __init__(self, job: "Job") -> None:
        super().__init__(f"job {job.id} is still {job.status}")
        self.job = job


class BatchFailed(ImpastoError):  # noqa: N818 - likewise
    """The batch was not accepted in the end, canceled, or lost by the service: it says why.

    Attributes:
        batch: the batch as it ended.
    """

    def __init__(self, batch: "Batch") -> None:
        first = f": line {batch.errors[0].line}: {batch.errors[0].detail}" if batch.errors else ""
        lost = f": {batch.error.detail}" if batch.error else ""
        super().__init__(f"batch {batch.id} {batch.status}{first or lost}")
        self.batch = batch


class BatchTimeoutError(ImpastoError, TimeoutError):
    """The batch did not end within the time given to `wait`; it goes on by itself.

    Attributes:
        batch: the batch as it is now.
    """

    def __init__(self, batch: "Batch") -> None:
        super().__init__(
            f"batch {batch.id} is still {batch.status}: {batch.counts.open} of {batch.counts.total} left"
        )
        self.batch = batch


class WebhookError(ImpastoError):
    """A request to a webhook's receiver is not the service's, or not of now; do nothing it says."""


class WaitTimeoutError(UnfinishedError, TimeoutError):
    """The job did not end within the time given to `wait`; it goes on by itself."""


class DamagedError(ImpastoError):
    """What arrived is not what was promised: its SHA-256 is another. Nothing was written."""

"""Faults with a stable code: what can be told to a caller, in an answer or in a failed job's record.

One class a fault. `api.problems` maps them to HTTP, the workers write them into the record; nobody else
needs to know either. `docs/api.md` lists every code (a test holds it to this file).
"""

from dataclasses import dataclass
from typing import ClassVar


class Fault(Exception):  # noqa: N818 - faults are named for what happened
    """A fault that has a name.

    Attributes:
        code: stable identifier for programs.
        title: one line for people, the same for every occurrence.
        status: HTTP status when the fault answers a request.
        retryable: True for infrastructure faults: another attempt may succeed without a change by the caller.
        pointer: JSON pointer to the field at fault, where there is one.
        line: the line at fault of a body that is read line by line; the pointer is one into that line.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Something failed inside the service"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.line: int | None = None


class InternalFault(Fault):
    """An error of ours; another attempt may succeed."""

    retryable = True


class MalformedRequest(Fault):
    """The request cannot be read at all: not JSON, a name twice in one object, not UTF-8."""

    code, title, status = "malformed_request", "The request cannot be read", 400


class UntrustedHost(Fault):
    """Without tokens: the request was sent to a name that anyone could point at this machine."""

    code, title, status = "untrusted_host", "This API does not answer to that name", 400


class UnsupportedMediaType(Fault):
    """The body is of another kind than this endpoint takes."""

    code, title, status = "unsupported_media_type", "This kind of body is not taken here", 415


class MethodNotAllowed(Fault):
    """The resource is there, but not for this method; `Allow` lists those it has."""

    code, title, status = "method_not_allowed", "This method is not allowed here", 405


class InvalidRequest(Fault):
    """The request's body, query or headers are not as documented."""

    code, title, status = "invalid_request", "The request is not valid", 422


class Unauthorized(Fault):
    """No token, or an unknown one."""

    code, title, status = "unauthorized", "A valid bearer token is needed", 401


class NotFound(Fault):
    """No such thing, or it belongs to another owner."""

    code, title, status = "not_found", "There is no such thing here", 404


class OutputExpired(Fault):
    """The job had a picture, which was kept for a shorter time than the job."""

    code, title, status = "output_expired", "The picture has been deleted", 410


class Conflict(Fault):
    """The job is in a state that does not allow this, or the ID is taken by another job."""

    code, title, status = "conflict", "The job's state does not allow this", 409


class IdempotencyMismatch(Fault):
    """The Idempotency-Key was used with another body."""

    code, title, status = "idempotency_mismatch", "This Idempotency-Key was used for another request", 422


class PreconditionFailed(Fault):
    """`If-Match` names another state of what was asked for."""

    code, title, status = "precondition_failed", "It is not what the request expects it to be", 412


class RangeNotSatisfiable(Fault):
    """The Range header names no part of the picture."""

    code, title, status = "range_not_satisfiable", "The picture has no such range", 416


class TooLarge(Fault):
    """The body is larger than the service takes."""

    code, title, status = "too_large", "The request is too large", 413


class BackboneUnavailable(Fault):
    """No live worker offers the backbone."""

    code, title, status = "backbone_unavailable", "No worker offers this backbone", 422


class StoreUnavailable(Fault):
    """Redis does not answer, is loading or is full."""

    code, title, status, retryable = (
        "store_unavailable",
        "The job store does not answer; try again",
        503,
        True,
    )


class StorageUnavailable(Fault):
    """The object store does not answer or refuses to store."""

    code, title, status, retryable = (
        "storage_unavailable",
        "The object store does not answer; try again",
        503,
        True,
    )


class TooManyWaiting(Fault):
    """As many callers wait for changes as one process lets wait."""

    code, title, status, retryable = (
        "too_many_waiting",
        "Too many callers wait for changes; poll, or try again",
        503,
        True,
    )


class FetchRefused(Fault):
    """The address is one that intake must not fetch from; one code for every reason."""

    code, title, status = "fetch_refused", "This address may not be fetched from", 422


class FetchFailed(Fault):
    """The source answered with an error, or not as a picture source does."""

    code, title, status = "fetch_failed", "The picture could not be fetched", 422


class FetchUnreachable(Fault):
    """The source did not answer in time; another attempt may succeed."""

    code, title, status, retryable = "fetch_unreachable", "The picture's server did not answer", 422, True


class PictureTooLarge(Fault):
    """More bytes or pixels than allowed."""

    code, title, status = "picture_too_large", "The picture is too large", 422


class PictureUnreadable(Fault):
    """Not a picture in an allowed format, or a damaged one."""

    code, title, status = "picture_unreadable", "The picture cannot be read", 422


class WebhookRefused(Fault):
    """The receiver's address is one that nothing may be sent to."""

    code, title, status = "webhook_refused", "Nothing may be sent to this receiver", 422


class UploadNotFound(Fault):
    """`upload:<id>` names no upload of this owner."""

    code, title, status = "upload_not_found", "There is no such upload", 422


class BatchLinesLost(Fault):
    """Lines that a batch was accepted with are gone from the object store, or damaged there."""

    code, title, status = "batch_lines_lost", "Lines of the batch are lost", 500


class MaskEmpty(Fault):
    """A style's mask leaves nothing of the style to learn from."""

    code, title, status = "mask_empty", "The mask leaves nothing of the style", 422


class PaintingDiverged(Fault):
    """The optimisation ran into values that are not numbers, more than once."""

    code, title, status = "painting_diverged", "The optimisation diverged", 422


class OutOfMemory(Fault):
    """The device's memory is too small for this size."""

    code, title, status = "out_of_memory", "The picture is too large for the worker's memory", 422


class WorkerLost(Fault):
    """The worker stopped renewing its lease: it crashed, stalled or was cut off."""

    code, title, status, retryable = "worker_lost", "The worker was lost", 500, True


class DeviceFailed(Fault):
    """The device that the job was painted on answers nothing any more; its worker has left."""

    code, title, status, retryable = "device_failed", "The worker's device failed", 500, True


class AttemptsExhausted(Fault):
    """Every attempt ended in an infrastructure fault."""

    code, title, status = "attempts_exhausted", "Every attempt failed", 500


class Quarantined(Fault):
    """The same spec on the same pictures ended every worker that tried it, a short while ago."""

    code, title, status = "quarantined", "This job has ended its workers before", 422


class DeadlineExceeded(Fault):
    """The job's deadline passed before it ended."""

    code, title, status = "deadline_exceeded", "The job's deadline passed", 422


@dataclass(frozen=True)
class ErrorInfo:
    """A fault as a job's record keeps it and a poll shows it."""

    code: str
    title: str
    detail: str
    pointer: str | None = None

    @classmethod
    def of(cls, fault: Fault) -> "ErrorInfo":
        """What to keep of a fault."""
        return cls(fault.code, fault.title, fault.detail, fault.pointer)


@dataclass(frozen=True)
class AttemptError(ErrorInfo):
    """The fault of one failed attempt, as a job's record keeps it. What an early record lacks is None.

    Attributes:
        stage: what the attempt was doing. attempt: its number in that stage's count.
        worker: who made it. at: milliseconds since the epoch, by Redis' clock.
    """

    stage: str | None = None
    attempt: int | None = None
    worker: str | None = None
    at: int | None = None

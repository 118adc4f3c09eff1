"""From a request to a record: what was checked is written as a job, and a worker is woken."""

from dataclasses import dataclass, replace

from api.problems import raise_all
from api.services import Services
from shared import logs
from shared.errors import StoreUnavailable
from shared.ids import new_id
from shared.jobs.new_job import NewJob
from shared.jobs.record import Job, Status
from shared.jobs.results import Submitted
from shared.requests.bodies import Parsed
from shared.requests.check import Checker, job_of
from shared.requests.choosing import choose
from shared.requests.models import JobRequest


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
    checker = Checker(name.owner, services)
    try:
        spec = checker.check(parsed)
    except StoreUnavailable:
        raise_all(parsed.faults)  # what is wrong already stays wrong once the store is back
        raise
    raise_all(parsed.faults)
    body = parsed.model
    if body is None or spec is None:
        raise AssertionError("a request without faults has a model and a spec")
    job = job_of(
        body,
        spec,
        checker.inputs(body),
        services.settings,
        owner=name.owner,
        uid=name.uid,
        id=name.id,
        body_hash=body.fingerprint,
        idempotency_key=name.idempotency_key,
    )
    return _write(job, services)


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
            webhook=job.webhook,
            retention_seconds=job.retention_seconds,
        ),
        services,
    )


def retry_hash(job: Job) -> str:
    """What stands for the body of a retry, which has none."""
    return f"retry of {job.uid}"


def _write(job: NewJob, services: Services) -> Submitted:
    request_id = logs.known("request_id")
    submitted = services.store.submit(replace(job, request_id=str(request_id) if request_id else None))
    logs.add(job=submitted.job.uid)
    if submitted.ring:
        services.ring(submitted.queue)
    return submitted

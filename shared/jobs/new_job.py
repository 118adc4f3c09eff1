"""A job that is to be accepted, and the record that it begins with."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.jobs.buckets import bucket_for
from shared.jobs.hashes import to_json
from shared.jobs.pictures import Inputs, Picture
from shared.jobs.recipes import recipe_of
from shared.jobs.record import SCHEMA, Job, Stage, Status, Webhook
from shared.spec import Spec


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


def new_record(job: NewJob) -> dict[str, str]:
    """A new job's hash, but for what the submitting script adds: its state, times and order."""
    # `steps` always: their default has changed more than once, and an earlier Impasto may read the record.
    spec = {"steps": job.spec.steps, **job.spec.model_dump(mode="json", exclude_defaults=True)}
    record = {
        "uid": job.uid,
        "id": job.id,
        "owner": job.owner,
        "schema": str(SCHEMA),
        "spec": to_json(spec),
        "content": to_json(job.content),
        "styles": to_json(job.styles),
        "metadata": to_json(job.metadata),
        "body_hash": job.body_hash,
        "priority": str(job.priority),
        "lane": f"paint.{job.spec.backbone}",
        "recipe": recipe_of(job.spec, job.inputs),
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


def accepted(job: NewJob, sent: Mapping[str, str], added: Mapping[str, str]) -> Job:
    """A job just made, as `Job.from_hash` would read it: the store need not send back what it was sent.

    Args:
        job: what was written.
        sent: its `new_record`.
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
        bucket=sent.get("bucket"),
        recipe=sent["recipe"],
    )

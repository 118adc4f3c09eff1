"""The job store: every change of a job's record, each one atomic.

Here stands what callers ask for; what workers do to a job that they hold is in `attempts`, what keeps the
whole in order in `upkeep`. A method turns arguments and answers to and from Python; what happens stands in
the script of the same name. Jobs, leases and deadlines go by Redis' clock alone. Ringing bells is left to
the callers: the store says when one is wanted.
"""

import json
from itertools import chain
from operator import itemgetter
from typing import Any

from redis import Redis

from shared.errors import Conflict, IdempotencyMismatch, NotFound, Quarantined
from shared.jobs.attempts import AttemptStore
from shared.jobs.hashes import fields_of
from shared.jobs.keys import Key
from shared.jobs.new_job import NewJob, accepted, new_record
from shared.jobs.pages import page_size, page_start, page_token_of
from shared.jobs.policy import milliseconds, policy
from shared.jobs.record import SCHEMA, Job, Queue, Stage, Status
from shared.jobs.results import Page, Purged, Submitted
from shared.jobs.scripts import Scripts
from shared.jobs.upkeep import UpkeepStore
from shared.redis import translated
from shared.repeatable import Repeatable
from shared.settings import Settings

MAX_OWNERS = 1000


class JobStore(AttemptStore, UpkeepStore):
    """All jobs and their inputs, in one Redis; safe to share between threads.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        self._repeatable = Repeatable(redis)
        # What only reads needs to be told little.
        self._reading = Scripts(redis, {"schema": SCHEMA, "max_owners": MAX_OWNERS}, self._repeatable.ask)
        # A submit that comes again finds the job that it made.
        self._submitting = Scripts(redis, policy(settings), self._repeatable.ask)

    def submit(self, job: NewJob) -> Submitted:
        """Accept a job, or find the one that this request repeats.

        Raises:
            Conflict: the owner has another job of this ID.
            IdempotencyMismatch: the key was used with another body.
            Quarantined: such a job has ended its workers before.
        """
        sent = new_record(job)
        outcome, ring, record, *more = self._submitting.run(
            "submit",
            record=sent,
            stage=Stage.WAITING if job.skip_intake else Stage.FETCHING,
            deadline=milliseconds(job.deadline_seconds),
            idempotency_key=job.idempotency_key,
            max_owners=MAX_OWNERS,
        )
        if outcome == "conflict":
            raise Conflict(f"the ID {job.id!r} belongs to another job")
        if outcome == "mismatch":
            raise IdempotencyMismatch("this Idempotency-Key was used with another body within 24 hours")
        if outcome == "quarantined":
            raise Quarantined(json.loads(more[0])["detail"])
        queue = Queue.PAINT if job.skip_intake else Queue.INTAKE
        fields = fields_of(record)
        return Submitted(
            Job.from_hash(fields) if "uid" in fields else accepted(job, sent, fields),
            created=outcome == "created",
            ring=bool(ring),
            queue=queue,
            position=more[0] if more else None,
        )

    def get(self, owner: str, id: str) -> Job:  # noqa: A002 - the caller's word
        """The job that an owner calls `id`. Raises `NotFound`."""
        record = self._reading.run("get", owner=owner, id=id)
        if not record:
            raise _not_found(id)
        return Job.from_reply(record)

    def look(self, owner: str, id: str, known: Job | None = None) -> tuple[Job, int | None]:  # noqa: A002
        """As `get` and `position`, both of one moment.

        Args:
            owner: whose job.
            id: what the owner calls it.
            known: the job as the caller saw it before, which is returned where it is still so.

        Raises:
            NotFound: there is none.
        """
        if known and known.status is not Status.QUEUED:
            # It has no place unless it waits again, and to read is cheaper than to run a script.
            with translated():
                record = fields_of(self._repeatable.ask("HGETALL", Key.JOB + known.uid))
            if record.get("version") == str(known.version):
                return known, None
            if record and record["status"] != Status.QUEUED:
                return Job.from_hash(record), None
        seen = {"uid": known.uid, "version": str(known.version)} if known and not known.following else {}
        reply = self._reading.run("look", owner=owner, id=id, **seen)
        if not reply:
            raise _not_found(id)
        job = Job.from_reply(reply[0]) if reply[0] or known is None else known
        return job, reply[1] if len(reply) > 1 else None

    def has_batch(self, uid: str) -> bool:
        """Whether a batch has a record, be it of one that was deleted and is still being purged."""
        with translated():
            return bool(self._redis.exists(Key.BATCH + uid))

    def by_uid(self, uid: str) -> Job | None:
        """The job of an internal ID."""
        with translated():
            record: Any = self._redis.hgetall(Key.JOB + uid)
        return Job.from_hash(record) if record else None

    def submitted_with(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that an earlier submit with this key made, for the 24 hours that the key is kept."""
        with translated():
            uid: Any = self._redis.get(f"{Key.IDEMPOTENCY}{idempotency_key}:{owner}")
        job = self.by_uid(uid) if uid else None
        return job if job and job.owner == owner else None

    def list(
        self, owner: str, *, status: Status | None = None, limit: int = 100, page_token: str | None = None
    ) -> Page:
        """An owner's jobs, the last accepted first.

        Args:
            owner: whose.
            status: those of this status only.
            limit: jobs in the page, coerced to 1..1000.
            page_token: `next_token` of the page before.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = page_size(limit)
        start = page_start(page_token)
        with translated(), self._redis.pipeline() as pipeline:
            for part in [status] if status else Status:
                key = f"{Key.LIST}{part}:{owner}"
                pipeline.zrevrangebyscore(key, start, "-inf", start=0, num=limit + 1, withscores=True)
            found = sorted(chain.from_iterable(pipeline.execute()), key=itemgetter(1), reverse=True)
            for uid, _ in found[:limit]:
                pipeline.hgetall(Key.JOB + uid)
            records = pipeline.execute()
        jobs = [Job.from_hash(record) for record in records if record]
        token = page_token_of(found[limit - 1][1]) if len(found) > limit else None
        return Page([job for job in jobs if status in (None, job.status)], token)

    def position(self, job: Job) -> int | None:
        """The job's place among those that wait for the same workers, the first being 1.

        None when it does not wait. With more than 1000 owners waiting it may be further back.
        """
        place: Any = self._reading.run("position", uid=job.uid)
        return None if place is None else int(place)

    def cancel(self, owner: str, id: str) -> Job:  # noqa: A002
        """Stop a job: what is queued ends at once, what is processing ends when its worker hears of it.

        Raises:
            NotFound: no such job.
            Conflict: it has ended, and was not canceled.
        """
        reply = self._scripts.run("cancel", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, record = reply
        if outcome == "conflict":
            # A later Impasto's record need not be readable.
            status = fields_of(record)["status"]
            raise Conflict(f"the job is {status} and cannot be canceled")
        return Job.from_reply(record)

    def purge(self, owner: str, id: str) -> Purged:  # noqa: A002
        """Forget an ended job. Its objects are the caller's to delete.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended, or a batch that tries it again has not read it yet.
        """
        reply = self._scripts.run("purge", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, record = reply
        if outcome == "conflict":
            raise Conflict("the job has not ended; cancel it first")
        if outcome == "read":
            raise Conflict(
                f"{record} tries this job again and has not read it yet; wait until that is no longer "
                "`validating`, or cancel it"
            )
        return Purged.of(Job.from_reply(record))


def _not_found(id: str) -> NotFound:  # noqa: A002
    return NotFound(f"no job {id!r}")

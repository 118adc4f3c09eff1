"""Random schedules for the job store: callers, two workers, crashes, bells and the reaper, in any order.

The rules stand here; what must hold whichever of them is taken stands in `steps.py`.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, initialize, multiple, precondition, rule

from shared.errors import Conflict, IdempotencyMismatch, NotFound
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import Attempt, Load, Outcome
from shared.jobs.keys import Key
from shared.jobs.new_job import NewJob, new_record
from shared.jobs.record import Queue, Webhook
from shared.jobs.results import Claim, LeaseLostError
from shared.spec import Spec
from tests.integration.jobs.steps import Steps
from tests.support.audit import TERMINAL, audit, snapshot
from tests.support.jobs import SPEC, clean, new_job, sha256

WORKERS = ("w1", "w2")
OWNERS = ("ann", "bob", "eve:x")
BACKBONES = ("compact", "vgg19")
PICTURES = ("bridge", "starry", "scream")
QUEUES = (Queue.INTAKE, Queue.PAINT)
PRIORITIES = st.sampled_from([0, 0, 5])
FREEZES = st.sampled_from([False, False, True])
DEADLINES = st.sampled_from([100_000, 100_000, 100_000, 20])
#: Jobs of one size are companions.
SIZES = st.sampled_from([512, 512, 256])
#: Jobs that are not fresh share with their like.
FRESH = st.sampled_from([False, False, True])
#: What a claim may be used for, the first ones more often.
WRITES = (
    *("advance", "finish", "renew", "fail") * 2,
    *("show", "pin", "checkpoint", "release", "spoil", "canceled"),
)


def sized(size: int, backbone: str = "compact") -> Spec:
    return SPEC.model_copy(update={"size": size, "backbone": backbone})


HOOK = Webhook("https://hooks.example.org/impasto")


class Schedules(Steps):
    """One run: a schedule of steps, then a calm house in which every job must end."""

    jobs: Bundle[NewJob] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    # Callers.

    @initialize(
        target=jobs,
        kinds=st.lists(
            st.tuples(st.sampled_from(OWNERS), st.booleans(), SIZES, FRESH), min_size=3, max_size=9
        ),
    )
    def an_open_house(self, kinds: list[tuple[str, bool, int, bool]]) -> Any:
        jobs = [
            new_job(owner, skip_intake=stored, spec=sized(size), fresh=fresh)
            for owner, stored, size, fresh in kinds
        ]
        return multiple(*map(self.accept, jobs))

    @rule(target=jobs, owner=st.sampled_from(OWNERS), priority=PRIORITIES, deadline=DEADLINES, fresh=FRESH)
    def submit_by_url(self, owner: str, priority: int, deadline: float, fresh: bool) -> NewJob:
        job = new_job(owner, priority=priority, deadline_seconds=deadline, webhook=HOOK, fresh=fresh)
        return self.accept(replace(job, id=f"own-{job.uid}", idempotency_key=f"key-{job.uid}"))

    @rule(
        target=jobs,
        owner=st.sampled_from(OWNERS),
        priority=PRIORITIES,
        deadline=DEADLINES,
        pictures=st.tuples(st.sampled_from(PICTURES), st.sampled_from(PICTURES)),
        backbone=st.sampled_from(BACKBONES),
        masked=st.sampled_from([False, False, True]),
        size=SIZES,
        fresh=FRESH,
    )
    def submit_stored(
        self,
        owner: str,
        priority: int,
        deadline: float,
        pictures: tuple[str, str],
        backbone: str,
        masked: bool,
        size: int,
        fresh: bool,
    ) -> NewJob:
        spec = sized(size, backbone)
        job = new_job(
            owner, priority=priority, deadline_seconds=deadline, skip_intake=True, spec=spec, fresh=fresh
        )
        style, init = clean(pictures[1]), None
        if masked:
            style, init = replace(style, mask=clean(pictures[0]), region=style), clean(pictures[0])
        return self.accept(replace(job, content=clean(pictures[0]), styles=(style,), init=init))

    def accept(self, job: NewJob) -> NewJob:
        for _, picture in job.inputs.each():
            if picture.sha256:
                self.keep(picture.source)
        few = self.client.llen(Queue.PAINT if job.skip_intake else Queue.INTAKE) < self.config.bells
        self.before = snapshot(self.client)
        made = self.made(self.before, new_record(job)) if job.skip_intake else None
        submitted = self.store.submit(job)
        assert submitted.created
        self.expect_sharing(submitted.job, made)
        assert submitted.ring == (few and made is None)
        assert submitted.queue == (Queue.PAINT if job.skip_intake else Queue.INTAKE)
        self.asked[job.uid] = job
        if submitted.ring:
            self.client.rpush(submitted.queue, "bell")
        return job

    @rule(outcome=st.sampled_from([Outcome.DELIVERED, Outcome.AGAIN, Outcome.FAILED]))
    def deliver(self, outcome: Outcome) -> None:
        deliveries = DeliveryStore(self.client, self.config)
        for claim in deliveries.claim(Load(room=2, host_slots=2, owner_slots=2)):
            assert claim.record
            deliveries.settle(claim, Attempt(at=1, ms=1), outcome, 60)

    @rule(job=jobs, by_key=st.booleans(), same_body=st.booleans())
    def submit_again(self, job: NewJob, by_key: bool, same_body: bool) -> None:
        if job.uid not in self.before.records or (by_key and not job.idempotency_key):
            return
        again = new_job(job.owner, body_hash=job.body_hash if same_body else sha256("another body"))
        again = replace(again, **({"idempotency_key": job.idempotency_key} if by_key else {"id": job.id}))
        if same_body:
            submitted = self.store.submit(again)
            assert not submitted.created
            assert submitted.job.uid == job.uid
        else:
            with pytest.raises(IdempotencyMismatch if by_key else Conflict):
                self.store.submit(again)
        self.unchanged()

    @rule(job=jobs)
    def cancel(self, job: NewJob) -> None:
        record = self.before.records.get(job.uid)
        if record is None:
            with pytest.raises(NotFound):
                self.store.cancel(job.owner, job.id)
        elif record["status"] in TERMINAL - {"canceled"}:
            with pytest.raises(Conflict):
                self.store.cancel(job.owner, job.id)
            self.unchanged()
        else:
            canceled = self.store.cancel(job.owner, job.id)
            if record["status"] == "processing":
                assert canceled.cancel_requested
                assert canceled.status == "processing"
            else:
                assert canceled.status == "canceled"

    @rule(job=jobs)
    def purge(self, job: NewJob) -> None:
        record = self.before.records.get(job.uid)
        if record is None:
            with pytest.raises(NotFound):
                self.store.purge(job.owner, job.id)
        elif record["status"] in TERMINAL:
            self.forget_objects(self.store.purge(job.owner, job.id))
            del self.ended[job.uid], self.asked[job.uid]
            assert self.store.by_uid(job.uid) is None
        else:
            with pytest.raises(Conflict):
                self.store.purge(job.owner, job.id)
            place, stands = (
                self.store.position(self.store.get(job.owner, job.id)),
                self.before.place(job.uid)[0],
            )
            if "following" in stands:
                leader = self.before.records[self.made(self.before, record) or job.uid]
                stands = self.before.place(leader["uid"])[0]
                assert place == 1 or leader["status"] == "queued"
            assert (place is not None) == ("waiting" in stands or place == 1)
            self.unchanged()

    # Workers.

    @rule(
        target=claims,
        worker=st.sampled_from(WORKERS),
        writes=st.lists(st.sampled_from(WRITES), min_size=1, max_size=4),
        freezes=FREEZES,
        picture=st.sampled_from(PICTURES),
    )
    def fetch(self, worker: str, writes: list[str], freezes: bool, picture: str) -> Any:
        return self.work(worker, Queue.INTAKE, (), writes, freezes, picture)

    @rule(
        target=claims,
        worker=st.sampled_from(WORKERS),
        backbones=st.sampled_from([BACKBONES, ("compact",), ("vgg19",)]),
        writes=st.lists(st.sampled_from(WRITES), min_size=1, max_size=4),
        freezes=FREEZES,
    )
    def paint(self, worker: str, backbones: tuple[str, ...], writes: list[str], freezes: bool) -> Any:
        return self.work(worker, Queue.PAINT, backbones, writes, freezes, PICTURES[0])

    @rule(
        target=claims,
        worker=st.sampled_from(WORKERS),
        most=st.integers(1, 4),
        writes=st.lists(st.sampled_from(WRITES), max_size=5),
    )
    def paint_together(self, worker: str, most: int, writes: list[str]) -> Any:
        """A worker takes companions to its job and writes under some of the claims, then freezes or dies."""
        leader = self.held.pop(worker, None) or self.take(worker, Queue.PAINT, BACKBONES)
        if leader is None:
            return multiple()
        together = [leader, *self.take_companions(leader, most, BACKBONES)]
        for claim, write in zip(together, writes, strict=False):
            self.use(claim, write, PICTURES[0])
        return multiple(*together)

    @rule(
        target=claims,
        claim=claims,
        most=st.integers(1, 3),
        backbones=st.sampled_from([BACKBONES, ("vgg19",)]),
    )
    def thaw_and_take_companions(self, claim: Claim, most: int, backbones: tuple[str, ...]) -> Any:
        """A worker that was frozen asks for companions, its claim lost or not."""
        return multiple(*self.take_companions(claim, most, backbones))

    def work(
        self,
        worker: str,
        queue: Queue,
        backbones: tuple[str, ...],
        writes: list[str],
        freezes: bool,
        picture: str,
    ) -> Any:
        """A worker goes on with its job, or hears a bell: as a surplus one it finds nothing.

        One that freezes or dies leaves its job to the lease.
        """
        claim = self.held.pop(worker, None)
        if claim is None:
            self.client.lpop(queue)
            claim = self.take(worker, queue, backbones)
        if claim is None:
            return multiple()
        if all(self.use(claim, write, picture) for write in writes) and not freezes:
            self.held[worker] = claim
        return claim

    @rule(
        target=claims,
        worker=st.sampled_from(WORKERS),
        queue=st.sampled_from(QUEUES),
        canceled=st.sampled_from([False, False, True]),
    )
    def lose(self, worker: str, queue: Queue, canceled: bool) -> Any:
        """A worker dies or freezes for longer than its lease, perhaps just after a cancel was asked for."""
        claim = self.held.pop(worker, None) or self.take(worker, queue, BACKBONES)
        if claim is None:
            return multiple()
        self.before = snapshot(self.client)
        if canceled and claim.job.uid in self.before.records:
            with suppress(Conflict):
                self.store.cancel(claim.job.owner, claim.job.id)
        self.clock.advance(self.config.lease_seconds)
        self.round_of_the_reaper()
        return claim

    @rule(claim=claims, worker=st.sampled_from(WORKERS), write=st.sampled_from(WRITES))
    def thaw_after_a_takeover(self, claim: Claim, worker: str, write: str) -> None:
        """A worker that was frozen goes on while others are at work, maybe at the same job."""
        if worker not in self.held:
            taken = self.take(worker, claim.queue, BACKBONES)
            if taken is not None:
                self.held[worker] = taken
        self.use(claim, write, PICTURES[1])

    @rule(claim=claims, write=st.sampled_from(WRITES), picture=st.sampled_from(PICTURES))
    def thaw(self, claim: Claim, write: str, picture: str) -> None:
        """A worker that was frozen goes on with a claim, be it lost or not."""
        self.use(claim, write, picture)

    def use(self, claim: Claim, write: str, picture: str) -> bool:
        """Write under a claim; false when it turned out to be lost."""
        if claim.queue == Queue.INTAKE and write in ("finish", "checkpoint"):
            write = "advance"
        if claim.queue == Queue.PAINT and write == "advance":
            write = "finish"
        if claim.queue == Queue.PAINT and write == "pin":
            write = "show"
        if write in ("advance", "pin"):
            self.keep(picture)
        self.before = snapshot(self.client)
        record = self.before.records.get(claim.job.uid, {})
        if record.get("fence") == claim.fence:
            self.perform(claim, write, picture)
            self.expect(claim, write, record)
            return True
        if write == "finish" and record.get("status") == "succeeded" and claim.fence in record["output"]:
            self.perform(claim, write, picture)  # its own success again, since the answer was lost
        else:
            with pytest.raises(LeaseLostError):
                self.perform(claim, write, picture)
        self.unchanged()
        return False

    # The house.

    @rule(seconds=st.sampled_from([1, 1, 5, 5, 10.5, 30]), reaps=st.booleans())
    def time_passes(self, seconds: float, reaps: bool) -> None:
        self.clock.advance(seconds)
        if reaps:
            self.round_of_the_reaper()

    @rule(queue=st.sampled_from(QUEUES), surplus=st.booleans())
    def bell_lost_or_surplus(self, queue: Queue, surplus: bool) -> None:
        if surplus:
            self.client.rpush(queue, "bell")
        else:
            self.client.lpop(queue)

    @rule(hours=st.sampled_from([0, 0, 0, 1.1]), reports=st.booleans())
    def collect_garbage(self, hours: float, reports: bool) -> None:
        """A chore deletes what nobody needs; it may die before it reports."""
        self.clock.advance(hours * 3600)
        for key in self.store.garbage(2):
            assert key.removeprefix("inputs/") not in self.before.hash(Key.REFS)
            self.stored.discard(key.removeprefix("inputs/"))
            if reports:
                self.store.forget(key)

    @rule(
        picture=st.sampled_from(PICTURES),
        owner=st.sampled_from(OWNERS),
        upload=st.sampled_from(["up_1", "up_2"]),
    )
    def add_upload(self, picture: str, owner: str, upload: str) -> None:
        self.keep(picture)
        known = self.store.upload(owner, upload)
        self.store.add_upload(owner, upload, clean(picture))
        assert self.store.upload(owner, upload) == (known or clean(picture))

    @precondition(lambda self: self.ended)
    @rule()
    def retention_ends(self) -> None:
        self.clock.advance(self.config.retention_seconds)
        due = self.store.due_for_purge(1000)
        uids = {self.store.get(owner, name).uid for owner, name in due}
        assert uids == self.ended.keys()

    def teardown(self) -> None:
        """The workers that are left obey every bell; then every job ends."""
        for _ in range(200):
            if all(r["status"] in TERMINAL for r in snapshot(self.client).records.values()):
                break
            self.clock.advance(10.5)
            for queue, bells in self.round_of_the_reaper().items():
                self.client.rpush(queue, *["bell"] * bells) if bells else None
            for queue in QUEUES:
                while self.client.lpop(queue):
                    self.work_one(queue)
        left = [r for r in audit(self.client).records.values() if r["status"] not in TERMINAL]
        assert not left, f"jobs that never end: {left}"

    def work_one(self, queue: Queue) -> None:
        claim = self.take(WORKERS[0], queue, BACKBONES)
        if claim is None:
            return
        if self.store.renew(claim).cancel:
            self.store.canceled(claim)
        elif queue == Queue.INTAKE:
            self.keep(PICTURES[0])
            if self.store.advance(claim, clean(PICTURES[0]), (clean(PICTURES[0]),), {"fetch": 0.1}):
                self.client.rpush(Queue.PAINT, "bell")
            self.attempts[claim.job.uid] = 0
        else:
            self.perform(claim, "finish", PICTURES[0])

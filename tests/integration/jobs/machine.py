"""Random schedules for the job store: callers, two workers, crashes, bells and the reaper, in any order.

The machine keeps little of its own. What must hold is asked of the records and indexes themselves: before and
after each step everything in Redis is read, and `tests.support.audit` recounts it.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from shared.errors import Conflict, IdempotencyMismatch, NotFound, PictureUnreadable, StorageUnavailable
from shared.jobs.keys import Key
from shared.jobs.record import Checkpoint, Job, NewJob, PaintProgress, Queue, Stage
from shared.jobs.store import Claim, JobStore, LeaseLostError
from shared.settings import Settings
from tests.support.audit import TERMINAL, Snapshot, audit, snapshot
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, clean, new_job, output, sha256

WORKERS = ("w1", "w2")
OWNERS = ("ann", "bob", "eve:x")
BACKBONES = ("compact", "vgg19")
PICTURES = ("bridge", "starry", "scream")
QUEUES = (Queue.INTAKE, Queue.PAINT)
PRIORITIES = st.sampled_from([0, 0, 5])
FREEZES = st.sampled_from([False, False, True])
DEADLINES = st.sampled_from([100_000, 100_000, 100_000, 20])
#: What a claim may be used for, the first ones more often.
WRITES = (
    *("advance", "finish", "renew", "fail") * 2,
    *("show", "checkpoint", "release", "spoil", "canceled"),
)


class Schedules(RuleBasedStateMachine):
    """One run: a schedule of steps, then a calm house in which every job must end."""

    client: redis.Redis
    store: JobStore
    config: Settings
    clock: Clock

    jobs: Bundle[NewJob] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.clock.reset()
        self.fences: dict[str, str] = {}  # uid -> the fence handed out last
        self.used: set[tuple[str, str]] = set()
        self.held: dict[str, Claim] = {}  # what the workers work on
        self.attempts: Counter[str] = Counter()  # uid -> attempts charged in this stage
        self.ended: dict[str, dict[str, str]] = {}  # uid -> its record when it was first seen ended
        self.versions: dict[str, tuple[int, dict[str, str]]] = {}
        self.served: dict[
            tuple[str, str], Counter[str]
        ] = {}  # (lane, owner that waits) -> others served since
        self.stored: set[str] = set()  # inputs in the object store
        self.asked: dict[str, NewJob] = {}
        self.before = snapshot(self.client)

    # Callers.

    @initialize(target=jobs, kinds=st.lists(st.tuples(st.sampled_from(OWNERS), st.booleans()), max_size=6))
    def an_open_house(self, kinds: list[tuple[str, bool]]) -> Any:
        return multiple(*(self.accept(new_job(owner, skip_intake=stored)) for owner, stored in kinds))

    @rule(target=jobs, owner=st.sampled_from(OWNERS), priority=PRIORITIES, deadline=DEADLINES)
    def submit_by_url(self, owner: str, priority: int, deadline: float) -> NewJob:
        job = new_job(owner, priority=priority, deadline_seconds=deadline)
        return self.accept(replace(job, id=f"own-{job.uid}", idempotency_key=f"key-{job.uid}"))

    @rule(
        target=jobs,
        owner=st.sampled_from(OWNERS),
        priority=PRIORITIES,
        deadline=DEADLINES,
        pictures=st.tuples(st.sampled_from(PICTURES), st.sampled_from(PICTURES)),
        backbone=st.sampled_from(BACKBONES),
        masked=st.booleans(),
    )
    def submit_stored(
        self,
        owner: str,
        priority: int,
        deadline: float,
        pictures: tuple[str, str],
        backbone: str,
        masked: bool,
    ) -> NewJob:
        job = new_job(
            owner, priority=priority, deadline_seconds=deadline, skip_intake=True, backbone=backbone
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
        submitted = self.store.submit(job)
        assert submitted.created
        assert submitted.ring == few
        assert submitted.queue == (Queue.PAINT if job.skip_intake else Queue.INTAKE)
        self.asked[job.uid] = job
        if submitted.ring:
            self.client.rpush(submitted.queue, "bell")
        return job

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
            self.store.purge(job.owner, job.id)
            del self.ended[job.uid], self.asked[job.uid]
            assert self.store.by_uid(job.uid) is None
        else:
            with pytest.raises(Conflict):
                self.store.purge(job.owner, job.id)
            place = self.store.position(self.store.get(job.owner, job.id))
            assert (place is not None) == ("waiting" in self.before.place(job.uid)[0])
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
        if write == "advance":
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

    # What must hold.

    def unchanged(self) -> None:
        """The step that was taken left no trace."""
        assert snapshot(self.client).raw == self.before.raw

    @invariant()
    def records_and_indexes_agree(self) -> None:
        store = audit(self.client)
        assert store.records.keys() == self.asked.keys()
        for uid, record in store.records.items():
            self.check_record(uid, record)
        assert store.hash(Key.REFS).keys() <= self.stored, "an input that a job needs was deleted"
        self.before = store

    def check_record(self, uid: str, record: dict[str, str]) -> None:
        if record["status"] in TERMINAL:
            assert record == self.ended.setdefault(uid, record), "a terminal state changed"
        else:
            assert uid not in self.ended, "a job came back from the dead"
        if "fence" in record:
            assert record["fence"] == self.fences[uid], "another fence than the last one is current"
        if record["status"] not in TERMINAL:
            assert int(record.get("attempt", 0)) == self.attempts[uid]
        assert self.attempts[uid] <= self.config.max_attempts
        version, shown = self.versions.get(uid, (0, {}))
        now_shown = {k: v for k, v in record.items() if k not in ("version", "checkpoint", "fences")}
        now_shown = {k: v for k, v in now_shown.items() if k != "waiting_since"}
        if now_shown != shown:
            assert int(record["version"]) > version, "what a poll sees changed, the version did not"
        self.versions[uid] = (int(record["version"]), now_shown)

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

    # Steps that several rules take.

    def keep(self, name: str) -> None:
        """Store an input as intake and the API do; a deletion under way is finished first."""
        if self.client.zscore(Key.SWEEPING, sha256(name)) is not None:
            self.store.forget(f"inputs/{sha256(name)}")
        self.store.hold(sha256(name))
        self.stored.add(sha256(name))

    def take(self, worker: str, queue: Queue, backbones: tuple[str, ...]) -> Claim | None:
        before = snapshot(self.client)
        lanes = ["intake"] if queue == Queue.INTAKE else [f"paint.{name}" for name in backbones]
        ready = self.claimable(before, lanes)
        claim = self.store.claim(queue, worker, backbones)
        if claim is None:
            assert not ready, "a job could be claimed and was not"
            return None
        uid, owner = claim.job.uid, claim.job.owner
        lane = next(lane for lane in lanes if uid in before.waiting[lane].get(owner, {}))
        line = before.waiting[lane][owner]
        assert uid == min(ready[lane, owner], key=line.__getitem__), "not the first of the owner's line"
        self.check_turns(lane, owner, lanes, ready)
        assert (uid, claim.fence) not in self.used, "a fence was used again"
        self.used.add((uid, claim.fence))
        self.fences[uid] = claim.fence
        self.attempts[uid] += 1
        assert claim.job.attempt == self.attempts[uid]
        assert claim.job.worker == worker
        return claim

    def claimable(self, store: Snapshot, lanes: list[str]) -> dict[tuple[str, str], list[str]]:
        found = {}
        for lane in lanes:
            for owner, line in store.waiting.get(lane, {}).items():
                ready = [uid for uid in line if int(store.records[uid]["deadline_at"]) > self.clock.now]
                if ready:
                    found[lane, owner] = ready
        return found

    def check_turns(
        self, lane: str, owner: str, lanes: list[str], ready: dict[tuple[str, str], list[str]]
    ) -> None:
        """Nobody is served twice in a lane while another, who could be served, waits in it."""
        waiting = {(a, o) for a, owners in snapshot(self.client).waiting.items() for o in owners}
        for other_lane, other in [*ready]:
            if other_lane == lane and other != owner:
                served = self.served.setdefault((lane, other), Counter())
                served[owner] += 1
                assert served[owner] <= 1, f"{other} waits while {owner} is served again"
        for key in [*self.served]:
            if key not in waiting or (key[1] == owner and key[0] in lanes):
                del self.served[key]

    def perform(self, claim: Claim, write: str, picture: str) -> Job | None:
        store = self.store
        match write:
            case "renew":
                renewal = store.renew(claim)
                record = self.before.records[claim.job.uid]
                late = self.clock.now >= int(record["deadline_at"])
                assert renewal.cancel == (late or record.get("cancel_requested") == "1")
            case "show":
                painting = claim.queue == Queue.PAINT
                store.renew(
                    claim, PaintProgress(1, 2, 1, 1), Stage.STORING if painting else None, "previews/1"
                )
            case "advance":
                style = replace(clean(picture), mask=clean(picture))
                store.advance(claim, clean(picture), (style,), {"fetch": 0.1}, init=clean(picture))
            case "checkpoint":
                store.checkpoint(claim, Checkpoint(f"checkpoints/{claim.job.uid}/{claim.fence}-1", 7))
            case "release":
                store.release(claim)
            case "finish":
                store.finish(claim, output(claim), seconds={"paint": 1.0}, evaluations=3, loss={"style": 0.5})
            case "fail":
                return store.fail(claim, StorageUnavailable("away"))
            case "spoil":
                return store.fail(claim, PictureUnreadable("not a picture"))
            case "canceled":
                store.canceled(claim)
        return None

    def expect(self, claim: Claim, write: str, record: dict[str, str]) -> None:
        """What an accepted write must have made of the job."""
        uid = claim.job.uid
        late = self.clock.now >= int(record["deadline_at"])
        asked = record.get("cancel_requested") == "1"
        stopped = "canceled" if asked or claim.queue == Queue.PAINT else "expired"
        now = self.store.by_uid(uid)
        assert now is not None
        match write:
            case "advance":
                self.attempts[uid] = 0
                assert (now.status, now.stage) == ("queued", "waiting")
            case "release":
                self.attempts[uid] -= 1
                assert now.status == (stopped if late or asked else "queued")
            case "finish":
                assert now.status == "succeeded"
                assert now.output == output(claim)
            case "fail":
                last = self.attempts[uid] == self.config.max_attempts
                assert now.status == (stopped if late or asked else "failed" if last else "queued")
                assert now.attempt_errors[-1].code == UNSTORED.code
            case "spoil":
                assert now.status == "failed"
                assert now.error is not None
                assert now.error.code == PictureUnreadable.code
            case "canceled":
                assert now.status == (stopped if late or asked else "canceled")

    def round_of_the_reaper(self) -> dict[Queue, int]:
        before = snapshot(self.client)
        done = self.store.reap()
        after = snapshot(self.client)
        lapsed = {uid for uid, end in before.zset(Key.LEASES).items() if end <= self.clock.now}
        assert not lapsed & after.zset(Key.LEASES).keys()
        for uid in lapsed:
            if before.records[uid].get("cancel_requested") == "1":
                assert after.records[uid]["status"] == "canceled", "what was to stop is tried again"
        moved = Counter(
            after.records[uid]["status"]
            for uid in lapsed | {*before.zset(Key.DELAYED)} - {*after.zset(Key.DELAYED)}
        )
        assert done.failed == moved["failed"]
        assert done.canceled == moved["canceled"]
        for record in after.records.values():
            late = int(record["deadline_at"]) <= self.clock.now
            assert not (late and record["status"] == "queued"), "a queued job outlived its deadline"
        return dict(done.rang)

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

"""What a run of the machine remembers, what must hold after each step, and steps that several rules take.

Little is remembered. What must hold is asked of the records and indexes themselves: before and after each
step everything in Redis is read, and `tests.support.audit` recounts it. The rules stand in `machine.py`.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import pytest
import redis
from hypothesis.stateful import RuleBasedStateMachine, invariant

from shared.errors import PictureUnreadable, StorageUnavailable
from shared.jobs.keys import Key
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Inputs
from shared.jobs.recipes import recipe_of
from shared.jobs.record import Checkpoint, Job, PaintProgress, Queue, Stage
from shared.jobs.results import Claim, LeaseLostError, Purged
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.audit import TERMINAL, Snapshot, audit, shares, snapshot
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, bucket, clean, output, sha256


class Steps(RuleBasedStateMachine):
    """One run's memory and its checks."""

    client: redis.Redis
    store: JobStore
    config: Settings
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.clock.reset()
        self.fences: dict[str, str] = {}  # uid -> the fence handed out last
        self.used: set[tuple[str, str]] = set()
        self.held: dict[str, Claim] = {}  # what the workers work on
        self.attempts: Counter[str] = Counter()  # uid -> attempts charged in this stage
        self.together: set[tuple[str, str]] = set()  # uid and fence of attempts of one batch
        self.ended: dict[str, dict[str, str]] = {}  # uid -> its record when it was first seen ended
        self.succeeded: set[str] = set()  # those that ever did, purged ones too
        self.versions: dict[str, tuple[int, dict[str, str]]] = {}
        self.served: dict[
            tuple[str, str], Counter[str]
        ] = {}  # (lane, owner that waits) -> others served since
        self.stored: set[str] = set()  # inputs in the object store
        self.outputs: set[str] = set()  # results in it
        self.asked: dict[str, NewJob] = {}
        self.before = snapshot(self.client)

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
        assert self.store.tally().finished == len(self.succeeded)
        assert store.hash(Key.REFS).keys() <= self.stored, "an input that a job needs was deleted"
        needed = {json.loads(r["output"])["key"] for r in store.records.values() if "output" in r}
        assert needed == self.outputs, "a result that a job needs was deleted, or one was left behind"
        self.forget_absent(store)
        self.before = store
        # Who has nothing left that waits, and comes back, stands at the end of the line.
        waiting = {(lane, owner) for lane, owners in store.waiting.items() for owner in owners}
        self.served = {key: others for key, others in self.served.items() if key in waiting}

    def check_record(self, uid: str, record: dict[str, str]) -> None:
        if record["status"] in TERMINAL:
            assert record == self.ended.setdefault(uid, record), "a terminal state changed"
            if record["status"] == "succeeded":
                self.succeeded.add(uid)
        else:
            assert uid not in self.ended, "a job came back from the dead"
        if "fence" in record:
            assert record["fence"] == self.fences[uid], "another fence than the last one is current"
        if record["status"] not in TERMINAL:
            assert int(record.get("attempt", 0)) == self.attempts[uid]
        assert self.attempts[uid] <= self.config.max_attempts
        version, shown = self.versions.get(uid, (0, {}))
        now_shown = {k: v for k, v in record.items() if k not in ("version", "checkpoint", "fences")}
        unseen = ("waiting_since", "following", "lift")
        now_shown = {k: v for k, v in now_shown.items() if k not in unseen}
        if now_shown != shown:
            assert int(record["version"]) > version, "what a poll sees changed, the version did not"
        self.versions[uid] = (int(record["version"]), now_shown)

    # Steps that several rules take.

    def keep(self, name: str) -> None:
        """Store an input as intake and the API do; a deletion under way is finished first."""
        if self.client.zscore(Key.SWEEPING, sha256(name)) is not None:
            self.store.forget(f"inputs/{sha256(name)}")
        self.store.hold(sha256(name))
        self.stored.add(sha256(name))

    def made(self, store: Snapshot, record: Mapping[str, str]) -> str | None:
        """The job that makes what this one asks for, or one that has it."""
        if not shares(dict(record)):
            return None
        return store.hash(Key.RECIPES + record["owner"]).get(record["recipe"])

    def expect_sharing(self, job: Job, made: str | None) -> None:
        """A job that is ready for paint has what was made, or follows whoever makes it."""
        leader = self.before.records.get(made or "")
        if leader is None:
            assert not job.following
            assert job.reused_from is None
        elif leader["status"] == "succeeded":
            assert (job.status, job.output) == ("succeeded", Job.from_hash(leader).output)
            assert job.reused_from == leader.get("reused_from", leader["id"])
        else:
            assert job.following
            assert (job.status, job.stage) == ("queued", "waiting")

    def forget_objects(self, purged: Purged) -> None:
        """What nobody needs is deleted."""
        self.outputs -= set(purged.keys)

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
        self.charge(claim, worker)
        return claim

    def take_companions(self, leader: Claim, most: int, backbones: Sequence[str]) -> list[Claim]:
        """Those that fit a job that is held, when it is."""
        before = self.before = snapshot(self.client)
        record = before.records.get(leader.job.uid, {})
        if record.get("fence") != leader.fence:
            with pytest.raises(LeaseLostError):
                self.store.companions(leader, most, backbones)
            self.unchanged()
            return []
        given = list(self.store.companions(leader, most, backbones))
        assert [claim.job.uid for claim in given] == self.fitting(before, record, most)
        after = snapshot(self.client)
        for claim in given:
            self.charge(claim, record["worker"])
        self.together |= {(claim.job.uid, claim.fence) for claim in [leader, *given] if given}
        for lane in [f"paint.{name}" for name in backbones]:
            line = after.turns.get(lane, {})
            served = [claim.job.owner for claim in reversed(given)]
            last = [owner for owner in dict.fromkeys(served) if owner in line]
            assert sorted(line, key=line.__getitem__, reverse=True)[: len(last)] == last, (
                "not sent to the end"
            )
            for owner in served:
                self.served.pop((lane, owner), None)
        return given

    def fitting(self, store: Snapshot, leader: dict[str, str], most: int) -> list[str]:
        """The companions that a job should get: owners in turn, one each and round again."""

        def alone(record: dict[str, str]) -> bool:
            errors = json.loads(record.get("attempt_errors", "[]"))
            return any(error["code"] == "worker_lost" for error in errors)

        if leader["status"] != "processing" or alone(leader):
            return []

        def agreed(record: dict[str, str]) -> object:
            step = json.loads(record["checkpoint"])["step"] if "checkpoint" in record else None
            return bucket(record), step

        def fits(record: dict[str, str]) -> bool:
            return agreed(record) == agreed(leader) and not self.late(record) and not alone(record)

        lane, lines = leader["lane"], []
        for owner in sorted(store.turns.get(lane, {}), key=store.turns.get(lane, {}).__getitem__):
            line = store.waiting[lane][owner]
            records = [store.records[uid] for uid in sorted(line, key=line.__getitem__)]
            lines.append([r["uid"] for r in records if fits(r)])
        rounds = zip_longest(*lines)
        return [uid for each in rounds for uid in each if uid][:most]

    def late(self, record: dict[str, str]) -> bool:
        return int(record["deadline_at"]) <= self.clock.now

    def charge(self, claim: Claim, worker: str) -> None:
        """An attempt has begun."""
        uid = claim.job.uid
        assert (uid, claim.fence) not in self.used, "a fence was used again"
        self.used.add((uid, claim.fence))
        self.fences[uid] = claim.fence
        self.attempts[uid] += 1
        assert claim.job.attempt == self.attempts[uid]
        assert claim.job.worker == worker

    def claimable(self, store: Snapshot, lanes: list[str]) -> dict[tuple[str, str], list[str]]:
        found = {}
        for lane in lanes:
            for owner, line in store.waiting.get(lane, {}).items():
                ready = [uid for uid in line if not self.late(store.records[uid])]
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

    def forget_absent(self, store: Snapshot) -> None:
        """Whoever has nothing waiting any more joins at the end of the line later on."""
        waiting = {(lane, owner) for lane, owners in store.waiting.items() for owner in owners}
        for key in self.served.keys() - waiting:
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
                store.advance(claim, clean(picture), (clean(picture),), {"fetch": 0.1})
            case "pin":
                store.pin(claim, Inputs(clean(picture), claim.job.styles))
            case "checkpoint":
                store.checkpoint(claim, Checkpoint(f"checkpoints/{claim.job.uid}/{claim.fence}-1", 7))
            case "finish":
                store.finish(claim, output(claim), seconds={"paint": 1.0}, evaluations=3, loss={"style": 0.5})
                self.outputs.add(output(claim).key)
            case "fail":
                return store.fail(claim, StorageUnavailable("away"))
            case "spoil":
                return store.fail(claim, PictureUnreadable("not a picture"))
            case "release" | "canceled":
                getattr(store, write)(claim)
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
                ready = {**record, "recipe": recipe_of(now.spec, now.inputs)}
                self.expect_sharing(now, self.made(self.before, ready))
                assert now.status == "succeeded" or (now.status, now.stage) == ("queued", "waiting")
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
            if (uid, self.fences[uid]) in self.together:
                self.attempts[uid] -= 1  # lost in company
            if before.records[uid].get("cancel_requested") == "1":
                assert after.records[uid]["status"] == "canceled", "what was to stop is tried again"
        moved = Counter(
            record["status"]
            for uid, record in after.records.items()
            if record["status"] != before.records[uid]["status"]
        )
        assert done.failed == moved["failed"]
        assert done.canceled == moved["canceled"]
        assert done.expired == moved["expired"]
        for record in after.records.values():
            late = int(record["deadline_at"]) <= self.clock.now
            assert not (late and record["status"] == "queued"), "a queued job outlived its deadline"
        return dict(done.rang)

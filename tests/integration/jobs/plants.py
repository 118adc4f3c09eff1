"""Two stores with a job in each state, and faults to plant in them: each says what the audit is to find."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis

from shared.audit import Code, audit
from shared.jobs.delivery import line_of, message_id
from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Webhook
from shared.settings import Settings
from tests.support.audit import audit as recount
from tests.support.busy import PNG, Studio
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, new_job

HOOK = Webhook("https://hooks.example.org/impasto")
LONG_AGO = time.time() - 86_400
#: Codes and subjects of findings.
Found = set[tuple[str, str]]


@dataclass
class House:
    """Two stores, with a job in each state."""

    client: redis.Redis
    config: Settings
    studio: Studio
    fetching: Job
    waiting: Job
    delayed: Job
    painting: Job
    succeeded: Job
    canceled: Job
    upload: str
    made: Job
    sharer: Job
    leader: Job
    follower: Job

    @classmethod
    def furnished(cls, client: redis.Redis, config: Settings, studio: Studio) -> "House":
        store = studio.store
        made, sharer = (studio.submit("made", owner="dan", fresh=False) for _ in range(2))
        studio.finish(claim_paint(store))
        leader, follower = (studio.submit("led", owner="dan", fresh=False) for _ in range(2))
        claim_paint(store)
        studio.submit("done")
        done = claim_paint(store)
        studio.finish(done)
        # One event of it is to be told.
        canceled = store.cancel("ann", studio.submit("canceled", webhook=HOOK).id)
        studio.submit("painted", id="mine")
        painted = claim_paint(store)
        studio.checkpoint(painted)
        studio.preview(painted)
        store.submit(new_job(priority=9))
        late = claim_intake(store)
        store.fail(late, UNSTORED)
        fetching = store.submit(new_job("bob")).job
        waiting = studio.submit("waits", owner="bob")
        upload = studio.upload("upload")
        for queue in (Queue.INTAKE, Queue.PAINT):
            client.rpush(queue, "a bell")
        uids = (done.job.uid, painted.job.uid, late.job.uid)
        succeeded, painting, delayed = (store.by_uid(uid) for uid in uids)
        assert succeeded
        assert painting
        assert delayed
        recount(client)
        shared = [found for job in (made, sharer, leader, follower) if (found := store.by_uid(job.uid))]
        return cls(
            client, config, studio, fetching, waiting, delayed, painting, succeeded, canceled, upload, *shared
        )

    def found(self, *, deep: bool = False) -> set[tuple[str, str]]:
        """Code and subject of each finding."""
        findings = audit(self.client, self.studio.objects, self.config, deep=deep, pause=lambda _: None)
        return {(finding.code, finding.subject) for finding in findings}

    def record(self, job: Job, **changes: object) -> None:
        """Write into a record past the scripts."""
        self.client.hset(Key.JOB + job.uid, mapping=changes)

    def old(self, key: str) -> str:
        """An object that was stored a day ago."""
        self.studio.objects.put(key, b"old", PNG)
        os.utime(self.config.objects_dir / key, (LONG_AGO, LONG_AGO))
        return key


def lost(house: House) -> str:
    """The record of the waiting job is gone; returns its uid."""
    house.client.delete(Key.JOB + house.waiting.uid)
    return house.waiting.uid


def without_place(house: House) -> Found:
    house.client.zrem(f"{Key.WAIT}paint.compact:bob", house.waiting.uid)
    house.client.hincrby(Key.WAITING, "paint.compact", -1)
    house.client.zrem(f"{Key.TURNS}paint.compact", "bob")
    return {(Code.JOB_STRANDED, house.waiting.uid)}


def without_lease(house: House) -> Found:
    house.client.zrem(Key.LEASES, house.painting.uid)
    return {(Code.JOB_STRANDED, house.painting.uid)}


def without_backoff(house: House) -> Found:
    house.client.zrem(Key.DELAYED, house.delayed.uid)
    return {(Code.JOB_STRANDED, house.delayed.uid)}


def twice(house: House) -> Found:
    house.client.zadd(Key.LEASES, {house.waiting.uid: time.time() * 1000 + 9000})
    return {(Code.JOB_MISPLACED, house.waiting.uid)}


def ended_with_a_lease(house: House) -> Found:
    house.client.zadd(Key.LEASES, {house.canceled.uid: time.time() * 1000 + 9000})
    return {(Code.JOB_MISPLACED, house.canceled.uid)}


def without_fence(house: House) -> Found:
    house.client.hdel(Key.JOB + house.painting.uid, "fence")
    return {(Code.JOB_MISPLACED, house.painting.uid)}


def without_record(house: House) -> Found:
    lost(house)
    return {
        (Code.ENTRY_WITHOUT_JOB, Key.DEADLINES),
        (Code.ENTRY_WITHOUT_JOB, f"{Key.WAIT}paint.compact:bob"),
        (Code.ENTRY_WITHOUT_JOB, f"{Key.LIST}queued:bob"),
        (Code.REFS_DISAGREE, Key.REFS),
    }


def entry(key: str) -> Callable[[House], Found]:
    def plant(house: House) -> Found:
        house.client.zadd(key, {"job_nobody": time.time() * 1000 + 9e6})
        return {(Code.ENTRY_WITHOUT_JOB, key)}

    return plant


def in_a_wrong_lane(house: House) -> Found:
    key = f"{Key.WAIT}paint.vgg19:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    house.client.zadd(f"{Key.TURNS}paint.vgg19", {"bob": 1})
    house.client.hset(Key.WAITING, "paint.vgg19", 1)
    return {(Code.ENTRY_CONTRADICTS, key)}


def out_of_order(house: House) -> Found:
    key = f"{Key.WAIT}paint.compact:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    return {(Code.ENTRY_CONTRADICTS, key)}


def in_a_wrong_list(house: House) -> Found:
    key = f"{Key.LIST}failed:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    return {(Code.ENTRY_CONTRADICTS, key), (Code.COUNT_DISAGREES, Key.COUNTS)}


def in_no_list(house: House) -> Found:
    house.client.zrem(f"{Key.LIST}queued:bob", house.waiting.uid)
    return {(Code.JOB_UNLISTED, house.waiting.uid), (Code.COUNT_DISAGREES, Key.COUNTS)}


def without_id(house: House) -> Found:
    house.client.hdel(f"{Key.IDS}ann", "mine")
    return {(Code.ID_DISAGREES, house.painting.uid)}


def another_id(house: House) -> Found:
    house.client.hset(f"{Key.IDS}ann", mapping={"other": house.painting.uid, "gone": "job_nobody"})
    return {(Code.ENTRY_CONTRADICTS, f"{Key.IDS}ann"), (Code.ENTRY_WITHOUT_JOB, f"{Key.IDS}ann")}


def without_deadline(house: House) -> Found:
    house.client.zrem(Key.DEADLINES, house.waiting.uid)
    house.client.zadd(Key.DEADLINES, {house.canceled.uid: time.time() * 1000 + 9e6})
    return {(Code.DEADLINE_DISAGREES, job.uid) for job in (house.waiting, house.canceled)}


def never_purged(house: House) -> Found:
    house.client.zrem(Key.ENDED, house.canceled.uid)
    return {(Code.RETENTION_DISAGREES, house.canceled.uid)}


def overdue(house: House) -> Found:
    past = LONG_AGO * 1000 // 1
    for key, job in (
        (Key.LEASES, house.painting),
        (Key.DELAYED, house.delayed),
        (Key.DEADLINES, house.waiting),
        (Key.ENDED, house.canceled),
    ):
        house.client.zadd(key, {job.uid: past})
    house.record(house.waiting, deadline_at=int(past))
    house.record(house.canceled, expires_at=int(past))
    return {
        (Code.LEASE_OVERDUE, house.painting.uid),
        (Code.BACKOFF_OVERDUE, house.delayed.uid),
        (Code.DEADLINE_OVERDUE, house.waiting.uid),
        (Code.PURGE_OVERDUE, house.canceled.uid),
    }


def turns(house: House) -> Found:
    house.client.zrem(f"{Key.TURNS}paint.compact", "bob")
    house.client.zadd(f"{Key.TURNS}intake", {"nobody": 99})
    return {(Code.TURN_DISAGREES, f"{Key.TURNS}{lane}") for lane in ("paint.compact", "intake")}


def counters(house: House) -> Found:
    house.client.hincrby(Key.COUNTS, "succeeded", 1)
    house.client.hincrby(Key.WAITING, "intake", -1)
    return {(Code.COUNT_DISAGREES, Key.COUNTS), (Code.WAITING_DISAGREES, Key.WAITING)}


def no_bell(house: House) -> Found:
    house.client.delete(Queue.PAINT)
    return {(Code.NO_BELL, Queue.PAINT)}


def refs_too_high(house: House) -> Found:
    assert house.waiting.content.sha256
    house.client.hincrby(Key.REFS, house.waiting.content.sha256, 1)
    return {(Code.REFS_DISAGREE, Key.REFS)}


def refs_too_low(house: House) -> Found:
    assert house.waiting.styles[0].sha256
    house.client.hincrby(Key.REFS, house.waiting.styles[0].sha256, -1)
    return {(Code.REFS_DISAGREE, Key.REFS)}


def refs_forgotten(house: House) -> Found:
    assert house.waiting.content.sha256
    house.client.hdel(Key.REFS, house.waiting.content.sha256)
    assert house.waiting.content.key
    return {(Code.REFS_DISAGREE, Key.REFS), (Code.INPUT_FORGOTTEN, house.waiting.content.key)}


def input_lost(house: House) -> Found:
    assert house.waiting.content.key
    house.studio.objects.delete(house.waiting.content.key)
    return {(Code.INPUT_MISSING, house.waiting.content.key)}


def input_of_nobody(house: House) -> Found:
    key = f"inputs/{'0' * 64}"
    house.studio.objects.put(key, b"nobody's", PNG)
    return {(Code.INPUT_FORGOTTEN, key)}


def input_not_collected(house: House) -> Found:
    house.studio.picture("a picture that is held")
    house.client.zadd(Key.UNUSED, {"0" * 64: LONG_AGO * 1000})
    return {(Code.INPUT_OVERDUE, Key.UNUSED)}


def input_about_to_go(house: House) -> Found:
    assert house.waiting.content.sha256
    later = time.time() * 1000 + 9e6
    house.client.zadd(Key.UNUSED, {house.waiting.content.sha256: later})
    house.client.zadd(Key.SWEEPING, {house.waiting.content.sha256: later})
    return {(Code.UNUSED_DISAGREES, Key.UNUSED), (Code.UNUSED_DISAGREES, Key.SWEEPING)}


def upload_without_end(house: House) -> Found:
    house.client.delete(Key.UPLOAD_ENDS)
    return {(Code.UPLOAD_DISAGREES, house.upload)}


def end_without_upload(house: House) -> Found:
    house.client.zadd(Key.UPLOAD_ENDS, {"up_nobody:ann": time.time() * 1000 + 9e6})
    return {(Code.UPLOAD_DISAGREES, "up_nobody")}


def upload_overdue(house: House) -> Found:
    house.client.zadd(Key.UPLOAD_ENDS, {f"{house.upload}:ann": LONG_AGO * 1000})
    return {(Code.UPLOAD_OVERDUE, house.upload)}


def result_lost(house: House) -> Found:
    assert house.succeeded.output
    house.studio.objects.delete(house.succeeded.output.key)
    return {(Code.OUTPUT_MISSING, house.succeeded.uid)}


def result_cut(house: House) -> Found:
    assert house.succeeded.output
    house.studio.objects.put(house.succeeded.output.key, b"cut", PNG)
    return {(Code.OUTPUT_DAMAGED, house.succeeded.uid)}


def pointers_lost(house: House) -> Found:
    assert house.painting.checkpoint
    house.studio.objects.delete(house.painting.checkpoint.key)
    house.studio.objects.delete(f"previews/{house.painting.uid}")
    return {(Code.CHECKPOINT_MISSING, house.painting.uid), (Code.PREVIEW_MISSING, house.painting.uid)}


def leftovers(house: House) -> Found:
    keys = (
        "outputs/job_nobody/1-a.png",
        f"outputs/{house.succeeded.uid}/9-stale.png",
        f"checkpoints/{house.painting.uid}/1-old-7",
        f"previews/{house.succeeded.uid}",
    )
    return {(Code.OBJECT_WITHOUT_JOB, house.old(key)) for key in keys}


def recipe_of(house: House, job: Job) -> str:
    """The recipe in a job's record."""
    found = house.client.hget(Key.JOB + job.uid, "recipe")
    assert found
    return str(found)


def recipe_of_nobody(house: House) -> Found:
    house.client.hset(f"{Key.RECIPES}dan", "0" * 32, "job_nobody")
    house.client.hset(f"{Key.RECIPES}ann", recipe_of(house, house.leader), house.leader.uid)
    return {(Code.RECIPE_DISAGREES, f"{Key.RECIPES}dan"), (Code.RECIPE_DISAGREES, f"{Key.RECIPES}ann")}


def follower_without_place(house: House) -> Found:
    house.client.delete(f"{Key.FOLLOWING}{recipe_of(house, house.follower)}:dan")
    return {(Code.JOB_STRANDED, house.follower.uid)}


def follower_in_line(house: House) -> Found:
    house.client.zadd(f"{Key.WAIT}paint.compact:bob", {house.follower.uid: 9e13})
    house.client.hincrby(Key.WAITING, "paint.compact", 1)
    return {(Code.ENTRY_CONTRADICTS, f"{Key.WAIT}paint.compact:bob")}


def leader_among_followers(house: House) -> Found:
    key = f"{Key.FOLLOWING}{recipe_of(house, house.leader)}:dan"
    house.client.zadd(key, {house.leader.uid: 1})
    return {(Code.JOB_MISPLACED, house.leader.uid), (Code.ENTRY_CONTRADICTS, key)}


def followers_of_what_has_ended(house: House) -> Found:
    made = recipe_of(house, house.made)
    place = house.client.zscore(f"{Key.FOLLOWING}{recipe_of(house, house.follower)}:dan", house.follower.uid)
    house.client.delete(f"{Key.FOLLOWING}{recipe_of(house, house.follower)}:dan")
    house.client.zadd(f"{Key.FOLLOWING}{made}:dan", {house.follower.uid: place})
    house.record(house.follower, recipe=made)
    return {(Code.FOLLOWERS_WITHOUT_LEADER, f"{Key.FOLLOWING}{made}:dan")}


def sharers_forgotten(house: House) -> Found:
    assert house.made.output
    house.client.delete(Key.SHARERS + house.made.output.key)
    return {(Code.SHARERS_DISAGREE, house.sharer.uid)}


def maker_not_among_the_sharers(house: House) -> Found:
    assert house.made.output
    house.client.zrem(Key.SHARERS + house.made.output.key, house.made.uid)
    return {(Code.SHARERS_DISAGREE, house.made.uid)}


def sharers_too_many(house: House) -> Found:
    assert house.made.output
    key = Key.SHARERS + house.made.output.key
    house.client.zadd(key, {house.succeeded.uid: 1, "job_nobody": 1})
    return {(Code.SHARERS_DISAGREE, key)}


def unreadable(house: House) -> Found:
    house.record(house.waiting, spec="{}garbage")
    house.client.hdel(Key.JOB + house.painting.uid, "owner")
    return {
        (Code.RECORD_UNREADABLE, house.waiting.uid),
        (Code.RECORD_UNREADABLE, house.painting.uid),
        (Code.ENTRY_CONTRADICTS, f"{Key.LIST}processing:ann"),
        (Code.ENTRY_CONTRADICTS, f"{Key.IDS}ann"),
    }


def told(house: House) -> tuple[str, str]:
    """The ID of the delivery that is to be sent, and its line."""
    return message_id(house.canceled.uid, "job.canceled"), line_of(HOOK.url, "ann")


def delivery_of_nobody(house: House) -> Found:
    one, _ = told(house)
    house.client.hset(Key.DELIVERY + one, "uid", "job_nobody")
    return {(Code.DELIVERY_WITHOUT_RECORD, one)}


def delivery_out_of_line(house: House) -> Found:
    one, line = told(house)
    house.client.zrem(Key.DELIVERY_LINE + line, one)
    return {(Code.DELIVERY_DISAGREES, one), (Code.DELIVERY_DISAGREES, Key.DELIVERIES)}


def delivery_in_another_list(house: House) -> Found:
    one, _ = told(house)
    house.client.rename(f"{Key.DELIVERY_LIST}waiting:ann", f"{Key.DELIVERY_LIST}failed:ann")
    return {(Code.DELIVERY_DISAGREES, one)}


def delivery_done_but_in_line(house: House) -> Found:
    one, _ = told(house)
    house.client.hset(Key.DELIVERY + one, "state", "delivered")
    house.client.rename(f"{Key.DELIVERY_LIST}waiting:ann", f"{Key.DELIVERY_LIST}delivered:ann")
    return {(Code.DELIVERY_DISAGREES, one)}


def delivery_lost(house: House) -> Found:
    one, line = told(house)
    house.client.delete(Key.DELIVERY + one)
    return {
        (Code.DELIVERY_DISAGREES, Key.DELIVERY_LINE + line),
        (Code.DELIVERY_DISAGREES, f"{Key.DELIVERY_LIST}waiting:ann"),
    }


def line_without_a_turn(house: House) -> Found:
    house.client.delete(Key.DELIVERIES)
    return {(Code.DELIVERY_DISAGREES, Key.DELIVERIES)}


def line_with_a_late_turn(house: House) -> Found:
    _, line = told(house)
    house.client.zadd(Key.DELIVERIES, {line: time.time() * 1000 + 9e6})
    return {(Code.DELIVERY_DISAGREES, Key.DELIVERIES)}


def delivery_not_sent(house: House) -> Found:
    one, line = told(house)
    house.client.zadd(Key.DELIVERY_LINE + line, {one: LONG_AGO * 1000})
    house.client.zadd(Key.DELIVERIES, {line: LONG_AGO * 1000})
    return {(Code.DELIVERY_OVERDUE, one)}


PLANTED = [
    delivery_of_nobody,
    delivery_out_of_line,
    delivery_in_another_list,
    delivery_done_but_in_line,
    delivery_lost,
    line_without_a_turn,
    line_with_a_late_turn,
    delivery_not_sent,
    without_place,
    without_lease,
    without_backoff,
    twice,
    ended_with_a_lease,
    without_fence,
    without_record,
    *(entry(key) for key in (Key.LEASES, Key.DELAYED, Key.DEADLINES, Key.ENDED)),
    in_a_wrong_lane,
    out_of_order,
    in_a_wrong_list,
    in_no_list,
    without_id,
    another_id,
    without_deadline,
    never_purged,
    overdue,
    turns,
    counters,
    no_bell,
    refs_too_high,
    refs_too_low,
    refs_forgotten,
    input_lost,
    input_of_nobody,
    input_not_collected,
    input_about_to_go,
    upload_without_end,
    end_without_upload,
    upload_overdue,
    result_lost,
    result_cut,
    pointers_lost,
    leftovers,
    recipe_of_nobody,
    follower_without_place,
    follower_in_line,
    leader_among_followers,
    followers_of_what_has_ended,
    sharers_forgotten,
    maker_not_among_the_sharers,
    sharers_too_many,
    unreadable,
]

#: What no script can put right.
LOST = {
    Code.INPUT_MISSING,
    Code.OUTPUT_MISSING,
    Code.OUTPUT_DAMAGED,
    Code.CHECKPOINT_MISSING,
    Code.PREVIEW_MISSING,
    Code.OBJECT_WITHOUT_JOB,
    Code.RECORD_UNREADABLE,
    Code.NO_BELL,
    *(code for code in Code if code.endswith("_overdue")),
}

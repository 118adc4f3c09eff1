"""A recount of the whole job store from its records, against every index that the scripts keep.

It reads Redis with commands that the service itself never uses (KEYS), and asserts.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import redis

from shared.jobs.delivery import Delivery, line_of
from shared.jobs.keys import Key
from tests.support.jobs import bucket

TERMINAL = {"succeeded", "failed", "canceled", "expired"}
#: Orders of acceptance stay below this, so that priority decides first.
PRIORITY = 10**13

Zset = dict[str, float]


@dataclass
class Snapshot:
    """Everything in the store at one moment."""

    raw: dict[str, Any]
    records: dict[str, dict[str, str]] = field(default_factory=dict)
    waiting: dict[str, dict[str, Zset]] = field(default_factory=lambda: defaultdict(dict))
    turns: dict[str, Zset] = field(default_factory=dict)
    following: dict[str, Zset] = field(default_factory=dict)
    sharers: dict[str, Zset] = field(default_factory=dict)
    batches: dict[str, dict[str, str]] = field(default_factory=dict)

    def zset(self, key: str) -> Zset:
        return self.raw.get(key, {})

    def hash(self, key: str) -> dict[str, str]:
        return self.raw.get(key, {})

    def place(self, uid: str) -> list[str]:
        """Where a job is kept: what it waits in, or what it ended in."""
        places = [
            f"waiting in {lane}" for lane, owners in self.waiting.items() for o in owners.values() if uid in o
        ]
        places += [f"following {name}" for name, line in self.following.items() if uid in line]
        places += [key for key in (Key.DELAYED, Key.LEASES, Key.ENDED) if uid in self.zset(key)]
        return places


#: Reads everything in one round trip.
_DUMP = """
local found = {}
for _, key in ipairs(redis.call('KEYS', 'im:*')) do
  local kind = redis.call('TYPE', key).ok
  local value
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'stream' then value = redis.call('XLEN', key)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  else value = redis.call('GET', key) end
  found[#found + 1] = {key, kind, value}
end
return found
"""


def snapshot(client: redis.Redis) -> Snapshot:
    """Everything in the store."""
    found = Snapshot({})
    for key, kind, reply in sorted(client.eval(_DUMP, 0)):
        if key in (Key.TALLY, Key.CHANGES, Key.PACES) or key.startswith(Key.PACE):
            continue  # tells what happened, not what is the case
        value = reply
        if kind in ("hash", "zset"):
            pairs = zip(reply[::2], reply[1::2], strict=True)
            value = {name: float(score) for name, score in pairs} if kind == "zset" else dict(pairs)
        found.raw[key] = value
        if key.startswith(Key.JOB):
            found.records[key.removeprefix(Key.JOB)] = value
        elif key.startswith(Key.BATCH):
            found.batches[key.removeprefix(Key.BATCH)] = value
        elif key.startswith(Key.WAIT):
            lane, owner = key.removeprefix(Key.WAIT).split(":", 1)
            found.waiting[lane][owner] = value
        elif key.startswith(Key.TURNS):
            found.turns[key.removeprefix(Key.TURNS)] = value
        elif key.startswith(Key.FOLLOWING):
            found.following[key.removeprefix(Key.FOLLOWING)] = value
        elif key.startswith(Key.SHARERS):
            found.sharers[key.removeprefix(Key.SHARERS)] = value
    return found


def audit(client: redis.Redis) -> Snapshot:
    """Assert that records and indexes agree; returns what was read."""
    store = snapshot(client)
    for uid, record in store.records.items():
        _check_state(store, uid, record)
    _check_waiting(store)
    _check_lists(store)
    _check_references(store)
    _check_followers(store)
    _check_outputs(store)
    _check_deliveries(store)
    _check_batches(store)
    for key in (Key.DELAYED, Key.LEASES, Key.ENDED, Key.DEADLINES, Key.OUTPUT_ENDS):
        assert store.zset(key).keys() <= store.records.keys(), f"{key} names a job without a record"
    return store


def _check_state(store: Snapshot, uid: str, record: dict[str, str]) -> None:
    """One job stands in exactly one place, and it is the one that its state says."""
    status, stage, fence = record["status"], record.get("stage"), record.get("fence")
    place = store.place(uid)
    assert len(place) == 1, f"{uid} ({status}/{stage}) stands in {place}"
    ready = status not in TERMINAL and stage != "fetching"
    if ready and (int(record["schema"]) >= 2 or "bucket" in record):  # buckets came with schema 2
        assert record.get("bucket") == bucket(record)
    else:
        assert "bucket" not in record
    if status in TERMINAL:
        assert place == [Key.ENDED]
        assert stage is None
        assert fence is None
        assert store.zset(Key.ENDED)[uid] == int(record["expires_at"])
        assert uid not in store.zset(Key.DEADLINES)
        return
    assert "completed_at" not in record
    assert (place == [Key.LEASES]) == (fence is not None), f"{uid} has fence {fence} and stands in {place}"
    if status == "processing":
        assert stage in ("painting", "storing")
        assert place == [Key.LEASES]
        assert record["worker"]
    else:
        assert status == "queued"
        assert stage in ("fetching", "waiting")
        assert stage == "fetching" or fence is None
        assert store.zset(Key.DEADLINES)[uid] == int(record["deadline_at"])
        if "following" in record:
            assert stage == "waiting"
            assert place == [f"following {record['recipe']}:{record['owner']}"]
            return
        lane = "intake" if stage == "fetching" else record["lane"]
        assert place[0] in (f"waiting in {lane}", Key.DELAYED, Key.LEASES)


def _check_waiting(store: Snapshot) -> None:
    """The lines are in order, and lanes and turns know of exactly the owners in them."""
    counted = {}
    for lane, owners in store.waiting.items():
        counted[lane] = sum(map(len, owners.values()))
        assert owners.keys() == store.turns[lane].keys(), f"turns of {lane}"
        turns = list(store.turns[lane].values())
        assert len(set(turns)) == len(turns), f"two owners have one turn in {lane}"
        for owner, line in owners.items():
            for uid, place in line.items():
                record = store.records[uid]
                assert record["owner"] == owner
                assert place == place_of(record)
    assert store.turns.keys() == store.waiting.keys()
    kept = {lane: int(n) for lane, n in store.hash(Key.WAITING).items() if int(n)}
    assert kept == counted, "jobs waiting"


def place_of(record: dict[str, str]) -> int:
    """A job's place in its line."""
    priority = max(int(record["priority"]), int(record.get("lift", 0)))
    return (9 - priority) * PRIORITY + int(record["order"])


def shares(record: dict[str, str]) -> bool:
    """Whether a job shares its painting with others of its recipe."""
    return int(record["schema"]) >= 4 and record.get("fresh") != "1"


def _check_followers(store: Snapshot) -> None:
    """Every group has one leader, or is being attended to; what was made is found by its recipe."""
    settling = store.zset(Key.SETTLING).keys()
    assert settling <= store.following.keys(), "a group without followers is attended to"
    for name, line in store.following.items():
        recipe, owner = name.split(":", 1)
        for uid, place in line.items():
            record = store.records[uid]
            assert (record["recipe"], record["owner"], record["following"]) == (recipe, owner, "1")
            assert place == place_of(record)
        leader = store.records.get(store.hash(Key.RECIPES + owner).get(recipe, ""))
        if leader is None or leader["status"] in TERMINAL:
            assert name in settling, f"nobody leads {name}"
        else:
            most = max(int(store.records[uid]["priority"]) for uid in line)
            lifted = max(int(leader["priority"]), int(leader.get("lift", 0)))
            assert lifted >= most, f"a follower of {leader['uid']} has a higher priority"
    made: dict[tuple[str, str], set[str]] = defaultdict(set)
    for uid, record in store.records.items():
        ready = record["status"] == "processing" or record.get("stage") == "waiting"
        if shares(record) and "following" not in record and (ready or record["status"] == "succeeded"):
            made[record["owner"], record["recipe"]].add(uid)
        elif record["status"] in TERMINAL:
            assert "recipe" not in record
    named = {
        (key.removeprefix(Key.RECIPES), recipe): uid
        for key, leaders in store.raw.items()
        if key.startswith(Key.RECIPES)
        for recipe, uid in leaders.items()
    }
    assert named.keys() == made.keys()
    for group, uid in named.items():
        assert uid in made[group]
        states = {store.records[one]["status"] for one in made[group]}
        assert states == {"succeeded"} or len(made[group]) == 1, f"{group} is made more than once"


def _check_outputs(store: Snapshot) -> None:
    """Who shares an output stands among its sharers, unless only its maker names it; nobody else does."""
    named: dict[str, Zset] = defaultdict(dict)
    for uid, record in store.records.items():
        if "output" in record:
            named[json.loads(record["output"])["key"]][uid] = int(
                record.get("output_expires_at", record["expires_at"])
            )
            if record.get("reused_from"):
                assert shares(record)
    shared = {key: uids for key, uids in named.items() if list(uids) != [key.split("/")[1]]}
    assert store.sharers == shared
    owners = {key: {store.records[uid]["owner"] for uid in uids} for key, uids in named.items()}
    assert all(len(own) == 1 for own in owners.values()), "an output is shared between owners"


def _check_lists(store: Snapshot) -> None:
    """Lists, IDs and counts name exactly the records there are."""
    lists: dict[str, Zset] = defaultdict(dict)
    ids: dict[str, dict[str, str]] = defaultdict(dict)
    for uid, record in store.records.items():
        lists[f"{Key.LIST}{record['status']}:{record['owner']}"][uid] = int(record["order"])
        if record["id"] != uid:
            ids[Key.IDS + record["owner"]][record["id"]] = uid
    assert {k: v for k, v in store.raw.items() if k.startswith(Key.LIST)} == lists
    assert {k: v for k, v in store.raw.items() if k.startswith(Key.IDS)} == ids
    counts = {status: int(n) for status, n in store.hash(Key.COUNTS).items() if int(n)}
    assert counts == Counter(record["status"] for record in store.records.values())


def _check_references(store: Snapshot) -> None:
    """Reference counts are what jobs and uploads name; what is unused or being deleted is named by none."""
    named: Counter[str] = Counter()
    for record in store.records.values():
        styles = json.loads(record["styles"])
        pictures = [json.loads(record["content"]), *styles, json.loads(record.get("init", "null"))]
        pictures += [style.get(part) for style in styles for part in ("mask", "region")]
        for picture in pictures:
            if picture and picture.get("sha256"):
                named[picture["sha256"]] += 1
    for key, inputs in store.raw.items():
        if key.startswith(Key.BATCH_INPUTS):
            named.update(inputs)
    uploads = set()
    for key, pictures in store.raw.items():
        if key.startswith(Key.UPLOADS):
            for upload_id, picture in pictures.items():
                named[json.loads(picture)["sha256"]] += 1
                uploads.add(f"{upload_id}:{key.removeprefix(Key.UPLOADS)}")
    assert {sha256: int(n) for sha256, n in store.hash(Key.REFS).items()} == named
    assert not store.zset(Key.UNUSED).keys() & named.keys()
    assert not store.zset(Key.SWEEPING).keys() & named.keys()
    assert store.zset(Key.UPLOAD_ENDS).keys() == uploads


def _check_deliveries(store: Snapshot) -> None:
    """A delivery is in the list of its state, one that waits in its line, each line known by its first."""
    lists: dict[str, Zset] = defaultdict(dict)
    waiting: dict[str, set[str]] = defaultdict(set)
    for key, delivery in store.raw.items():
        if not key.startswith(Key.DELIVERY):
            continue
        found = Delivery.from_hash(key.removeprefix(Key.DELIVERY), delivery)
        lists[f"{Key.DELIVERY_LIST}{found.state}:{found.owner}"][found.id] = found.order
        if found.state == "waiting":
            waiting[Key.DELIVERY_LINE + line_of(found.url, found.owner)].add(found.id)
        assert found.kind != "job" or found.uid in store.records, f"{found.id} tells of no job"
    lines = {key: value for key, value in store.raw.items() if key.startswith(Key.DELIVERY_LINE)}
    assert {key: set(line) for key, line in lines.items()} == waiting
    assert {key: value for key, value in store.raw.items() if key.startswith(Key.DELIVERY_LIST)} == lists
    firsts = {key.removeprefix(Key.DELIVERY_LINE): min(line.values()) for key, line in lines.items()}
    assert store.zset(Key.DELIVERIES).keys() == firsts.keys()
    for line, first in firsts.items():
        # One that was passed over among very many stands a second behind.
        assert first <= store.zset(Key.DELIVERIES)[line] <= first + 3_600_000


def _check_batches(store: Snapshot) -> None:
    """A batch's counts and sets are its jobs'; what has work left, is over or keeps inputs is known."""
    items: dict[str, Zset] = defaultdict(dict)
    for uid, record in store.records.items():
        if "batch_id" in record:
            assert record["batch_id"] in store.batches, f"{uid} is of a batch without a record"
            items[f"{Key.BATCH_ITEMS}{record['batch_id']}:{record['status']}"][uid] = int(
                record["batch_index"]
            )
    assert {k: v for k, v in store.raw.items() if k.startswith(Key.BATCH_ITEMS)} == items
    followers = Counter(record.get("batch_id") for record in store.records.values() if "following" in record)
    listed: dict[str, Zset] = defaultdict(dict)
    for uid, batch in store.batches.items():
        counts = {status: int(batch.get(f"n:{status}", 0)) for status in (*TERMINAL, "queued", "processing")}
        for status, count in counts.items():
            there = len(items[f"{Key.BATCH_ITEMS}{uid}:{status}"])
            assert count - int(batch.get(f"gone:{status}", 0)) == there, f"{uid}: {status}"
        assert sum(counts.values()) == int(batch["loaded"]) <= int(batch["total"])
        assert int(batch.get("following", 0)) == followers[uid], f"{uid}: following"
        if "deleted" not in batch:
            listed[Key.BATCHES + batch["owner"]][uid] = int(batch["order"])
        ended = batch["status"] in ("completed", "failed", "canceled")
        assert ended == ("completed_at" in batch) == (uid in store.zset(Key.BATCH_ENDED))
        assert not ended or uid not in store.zset(Key.BATCH_WORK)
        assert not ended or counts["queued"] + counts["processing"] == 0
        loading = not ended and "cancel_requested" not in batch and batch["loaded"] != batch["total"]
        assert not loading or uid in store.zset(Key.BATCH_WORK)
    assert {k: v for k, v in store.raw.items() if k.startswith(Key.BATCHES)} == listed
    keeping = {k.removeprefix(Key.BATCH_INPUTS) for k in store.raw if k.startswith(Key.BATCH_INPUTS)}
    loading = {uid for uid, batch in store.batches.items() if "completed_at" not in batch}
    assert keeping <= loading | store.zset(Key.BATCH_UNHELD).keys()

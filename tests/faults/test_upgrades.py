"""Upgrades: the present workers finish what an old Impasto left, and leave alone what a new one wrote."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from shared.audit import Code, audit
from shared.errors import Conflict
from shared.jobs.hashes import to_json
from shared.jobs.keys import Key
from shared.jobs.pictures import Picture
from shared.jobs.record import SCHEMA, Job, Queue, Status
from shared.jobs.upkeep import BATCH
from tests.support.audit import snapshot
from tests.support.planted import HOUR, MINUTE, checkpoint_1, now, painting, plant, record_1
from tests.support.rig import Rig
from tests.support.waiting import wait_for
from worker.chores.tidy import ORPHAN_SECONDS, Tidy

LATER = str(SCHEMA + 1)


def faults(rig: Rig) -> list[str]:
    """What the doctor finds."""
    found = audit(rig.client, rig.objects, rig.config, pause=lambda _: None)
    return [f"{finding.code} {finding.subject}: {finding.detail}" for finding in found if finding.fault]


def queued(rig: Rig, hue: int) -> dict[str, Any]:
    """A record of schema 1 whose pictures are stored."""
    return record_1(rig.client, rig.picture(hue), (rig.picture(hue + 100),), stage="waiting")


def finished(rig: Rig, uid: str) -> Job:
    """The job, once it has succeeded, with its one result."""
    job = rig.store.by_uid(uid)
    assert job is not None
    done = rig.ended(job)
    assert done.status is Status.SUCCEEDED, done.error
    rig.has_its_one_result(done)
    assert done.schema == 1
    assert done.spec.style_loss == "gram"  # all there was when it was accepted
    return done


def test_an_old_job_that_waits_is_painted(rig: Rig) -> None:
    uid = plant(rig.client, queued(rig, 1))
    rig.worker(Queue.PAINT)
    assert finished(rig, uid).attempt == 1
    rig.audit()
    assert faults(rig) == []


def test_an_old_job_that_waits_for_intake_is_fetched_and_painted(rig: Rig) -> None:
    copy = rig.picture(2)
    assert copy.sha256
    rig.store.hold(copy.sha256)
    rig.store.add_upload("ann", "up_old", Picture("data:", **_copy(copy)))
    style = Picture("upload:up_old")
    uid = plant(rig.client, record_1(rig.client, rig.picture(102), (style, style), stage="fetching"))
    rig.worker(Queue.INTAKE)
    rig.worker(Queue.PAINT)
    done = finished(rig, uid)
    assert [style.key for style in done.styles] == [copy.key, copy.key]
    rig.audit()
    assert faults(rig) == []


def _copy(picture: Picture) -> dict[str, Any]:
    return {name: getattr(picture, name) for name in ("key", "sha256", "width", "height")}


def test_an_old_painting_whose_worker_is_gone_starts_over_where_its_checkpoint_is_of_no_use(rig: Rig) -> None:
    past = now(rig.client) - MINUTE
    record = painting(queued(rig, 3), lease_lost_at=past)
    key = f"checkpoints/{record['uid']}/{record['fence']}-1"
    image = torch.rand(3, 43, 64, generator=torch.Generator().manual_seed(1))
    rig.objects.put(key, checkpoint_1(image, 12, (3, 64, 96)), "application/octet-stream")
    record["checkpoint"] = to_json({"key": key, "step": 12})
    uid = plant(rig.client, record, leases=past)
    worker = rig.worker(Queue.PAINT)
    done = finished(rig, uid)
    assert (done.attempt, [error.code for error in done.attempt_errors]) == (2, ["worker_lost"])
    assert worker.said("the checkpoint is of no use")
    wait_for(lambda: rig.objects.stat(key) is None, "the old checkpoint to be removed")
    rig.audit()
    assert faults(rig) == []


def test_an_old_job_that_has_ended_is_kept_and_purged_in_its_time(rig: Rig) -> None:
    time = now(rig.client)
    record = queued(rig, 4)
    output = f"outputs/{record['uid']}/1-0123456789abcdef.png"
    rig.objects.put(output, b"painted", "image/png")
    for name in ("stage", "lane", "waiting_since"):
        del record[name]
    record |= {
        "status": "succeeded",
        "attempt": "1",
        "worker": "paint@old:1",
        "started_at": time - 2 * MINUTE,
        "completed_at": time - MINUTE,
        "expires_at": time + HOUR,
        "output": to_json(
            {
                "key": output,
                "sha256": hashlib.sha256(b"painted").hexdigest(),
                "bytes": 7,
                "width": 64,
                "height": 43,
                "content_type": "image/png",
            }
        ),
        "seconds": '{"paint":1.5,"wait":0.005}',
        "loss": '{"style":0.25}',
        "evaluations": "30",
        "version": 9,
    }
    uid = plant(rig.client, record, ended=record["expires_at"])
    assert faults(rig) == []
    rig.audit()
    assert rig.store.get("ann", uid).output is not None
    rig.client.hset(Key.JOB + uid, "expires_at", time - MINUTE)
    rig.client.zadd(Key.ENDED, {uid: time - MINUTE})
    rig.worker(Queue.CHORES)
    wait_for(lambda: rig.store.by_uid(uid) is None, "the old job to be purged")
    wait_for(lambda: rig.objects.stat(output) is None, "its result to go with it")
    rig.audit()


# Later records.


class Later:
    """Records of a later schema in every state in which the present workers might touch them."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        time = now(rig.client)
        past = time - 2 * HOUR
        self.objects: list[str] = []
        self.uids = {
            "waiting": self._plant("waiting", {}),
            "fetching": self._plant("fetching", {"stage": "fetching"}),
            "urgent": self._plant("urgent", {"priority": "9"}),
            "delayed": self._plant("delayed", {"attempt": "1"}, delayed=past),
            "overdue": self._plant("overdue", {"deadline_at": past}),
        }
        lost = painting({}, lease_lost_at=past)
        self.uids["lost"] = self._plant("lost", {**lost, "cancel_requested": "1"}, leases=past)
        ended = {"status": "succeeded", "stage": "kept", "completed_at": past, "expires_at": past}
        self.uids["ended"] = self._plant("ended", ended, ended=past)

    def _plant(self, name: str, changes: dict[str, Any], **entries: int) -> str:
        rig = self._rig
        record = {
            **record_1(rig.client, rig.picture(7), (rig.picture(107),), stage="waiting"),
            "schema": LATER,
        }
        uid, varnish = record["uid"], rig.picture(207)
        assert varnish.sha256
        rig.client.hincrby(Key.REFS, varnish.sha256, 1)
        spec = {**json.loads(record["spec"]), "brush": {"width": 3}}
        record |= {
            "id": f"my-{name}",
            "spec": json.dumps(spec),
            "bucket": "as-the-leader",
            "preview_key": f"previews/{uid}",
            "varnish": to_json(varnish),
            **changes,
        }
        for key in (f"outputs/{uid}/1-a.tiff", f"checkpoints/{uid}/1-a-1", f"previews/{uid}"):
            rig.objects.put(key, b"new", "application/octet-stream")
            old = time.time() - 24 * ORPHAN_SECONDS
            os.utime(rig.config.objects_dir / key, (old, old))
            self.objects.append(key)
        return plant(rig.client, record, **entries)

    def state(self) -> dict[str, Any]:
        """Everything in the stores that is theirs, but when leases end: late rounds of reaping give time."""
        raw = snapshot(self._rig.client).raw
        raw.pop(Key.BRIDGED, None)
        theirs: dict[str, Any] = {Key.LEASES: self.uids.values() & raw.pop(Key.LEASES, {}).keys()}
        for key, value in raw.items():
            if key.removeprefix(Key.JOB) in self.uids.values():
                theirs[key] = value
            elif isinstance(value, dict):
                kept = {name: score for name, score in value.items() if name in self.uids.values()}
                theirs |= {key: kept} if kept else {}
        stats = [self._rig.objects.stat(key) for key in self.objects]
        theirs["objects"] = [stat and (stat.key, stat.size, stat.modified) for stat in stats]
        return theirs


@pytest.fixture
def later(rig: Rig) -> Iterator[Later]:
    """Later records; they must be the same after the test."""
    planted = Later(rig)
    before = planted.state()
    assert len(before["objects"]) == 3 * len(planted.uids)
    yield planted
    assert planted.state() == before


def test_nothing_that_the_store_does_touches_a_later_record(rig: Rig, later: Later) -> None:
    store = rig.store
    assert store.claim(Queue.PAINT, "worker", ("compact",)) is None
    assert store.claim(Queue.INTAKE, "worker") is None
    rig.submit()
    leader = store.claim(Queue.PAINT, "worker", ("compact",))
    assert leader is not None  # behind later ones that are more urgent
    rig.client.hset(Key.JOB + leader.job.uid, "bucket", "as-the-leader")
    assert store.companions(leader, 8, ("compact",)) == []
    store.release(leader)
    for _ in range(3):
        reaped = store.reap()
        assert (reaped.requeued, reaped.failed, reaped.canceled, reaped.expired) == (0, 0, 0, 0)
    for name in later.uids:
        for change in (store.cancel, store.purge):
            with pytest.raises(Conflict):
                change("ann", f"my-{name}")
    assert store.due_for_purge(10) == []


def test_a_later_record_can_be_shown(rig: Rig, later: Later) -> None:
    for name, uid in later.uids.items():
        if name != "ended":  # its stage is one that only a later Impasto knows
            job = rig.store.get("ann", f"my-{name}")
            assert (job.uid, job.schema) == (uid, SCHEMA + 1)
            assert job.content.key is not None
            assert rig.store.position(job) is None


def test_chores_sweep_no_object_of_a_later_record(rig: Rig, later: Later) -> None:
    tidy = Tidy(rig.store, rig.objects, rig.config.retention_seconds)
    assert tidy.work() is False
    assert all(rig.objects.stat(key) for key in later.objects)


def test_the_doctor_notes_later_records_and_finds_no_fault_in_them(rig: Rig, later: Later) -> None:
    for queue in (Queue.INTAKE, Queue.PAINT):
        rig.client.rpush(queue, "a bell")
    found = list(audit(rig.client, rig.objects, rig.config, pause=lambda _: None))
    assert {(finding.code, finding.subject) for finding in found} == {
        (Code.RECORD_LATER, uid) for uid in later.uids.values()
    }
    assert not any(finding.fault for finding in found)


def test_workers_paint_what_is_theirs_beside_later_records(rig: Rig, later: Later) -> None:  # noqa: ARG001
    workers = [rig.worker(queue) for queue in Queue]
    job = rig.submit()
    rig.has_its_one_result(rig.ended(job))
    assert all(worker.status is None for worker in workers)
    assert not any(worker.said("Traceback") for worker in workers)
    assert faults(rig) == []


def test_many_later_records_keep_no_other_from_being_reaped(rig: Rig) -> None:
    past = now(rig.client) - HOUR
    for _ in range(BATCH + 1):
        record = painting(queued(rig, 5), lease_lost_at=past) | {"schema": LATER, "deadline_at": past}
        plant(rig.client, record, leases=past - MINUTE)
    lost = plant(rig.client, painting(queued(rig, 6), lease_lost_at=past), leases=past)
    assert rig.store.reap().requeued == 1
    job = rig.store.by_uid(lost)
    assert job is not None
    assert job.status is Status.QUEUED

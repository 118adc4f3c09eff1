"""What is deleted, or has expired, is gone: of every kind of job nothing is left in either store."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.audit import audit
from shared.bells import message
from shared.jobs.flights import BATCH_SECONDS, COPY_SECONDS
from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Status
from tests.integration.service.support import LONG, NOT_KEPT, SMALL, mask, picture
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.traces import traces
from tests.support.waiting import wait_for
from tests.support.web import Web, status

SECONDS = 120.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Without chores until the test starts them."""
    with Rig(tmp_path, input_grace_seconds=3, upload_seconds=12, **SHORT_LEASE) as rig:
        yield rig


@dataclass
class Guest:
    """Somebody who brings jobs of every kind, and remembers every word that they gave or were given.

    Attributes:
        name: in everything that they write, so that no two guests have a word in common.
        hue: of their pictures, likewise.
        extra: fields of every request.
    """

    rig: Rig
    http: httpx.Client
    web: Web
    name: str
    hue: int
    extra: dict[str, Any] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    words: set[str] = field(default_factory=set)

    def submit(self, path: str = "/v1/jobs", *, method: str = "POST", **body: Any) -> str:
        key = f"key-{self.name}-{len(self.ids)}"
        metadata = {f"meta-{self.name}": f"{self.name} said so"}
        headers = {"Idempotency-Key": key} if method == "POST" else {}
        hook = f"/{self.name}-hook"
        common = {"spec": SMALL, "metadata": metadata, "webhook": {"url": self.web.route(hook, status(204))}}
        whole = common | body | self.extra
        answer = self.http.request(method, path, json=whole, headers=headers)
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        self.ids.append(job_id)
        self.words |= {job_id, hook, *headers.values(), *metadata, *metadata.values()}
        return job_id

    def url(self, what: str, number: int) -> str:
        path = f"/{self.name}-{what}.png"
        self.words.add(path)
        return self.web.file(path, picture(hue=self.hue + number))

    def upload(self, number: int) -> str:
        answer = self.http.post("/v1/uploads", files={"file": picture(hue=self.hue + number)})
        assert answer.status_code == 201, answer.text
        self.words |= {answer.json()["id"], answer.json()["sha256"]}
        image: str = answer.json()["image"]
        return image

    def data(self, number: int) -> str:
        return "data:image/png;base64," + base64.b64encode(picture(hue=self.hue + number)).decode()

    def job(self, job_id: str) -> Job:
        """The record; all of it is remembered that names something of this job's alone."""
        job = self.rig.store.get("local", job_id)
        self.words.add(job.uid)
        self.words |= {one.sha256 for _, one in job.inputs.each() if one.sha256}
        return job

    def ended(self, job_id: str, *statuses: Status) -> None:
        def look() -> Job | None:
            return job if (job := self.job(job_id)).status.terminal else None

        job = wait_for(look, f"{job_id} to end", SECONDS)
        assert job.status in statuses, job.error

    def painted(self, job_id: str) -> None:
        """Wait until it has a checkpoint and a preview."""

        def look() -> bool:
            job = self.job(job_id)
            assert not job.status.terminal, job.error
            return bool(job.checkpoint and job.preview_key)

        wait_for(look, f"{job_id} to have a checkpoint and a preview", SECONDS)

    def bring_small_ones(self) -> None:
        """Jobs that end by themselves: by URL, upload and data URI, with masks, and one that fails."""
        style = self.url("style", 1)
        self.submit(content=self.url("content", 0), styles=[style])
        self.submit(f"/v1/jobs/own-{self.name}", method="PUT", content=self.upload(2), styles=[style])
        self.submit(content=self.data(3), styles=[self.upload(4)])
        upper = "data:image/png;base64," + base64.b64encode(mask(upper=True)).decode()
        masked = {"image": self.upload(5), "mask": upper, "region": self.url("region", 6)}
        self.submit(
            content=self.data(7), styles=[masked], init=self.upload(8), spec={**SMALL, "init": "picture"}
        )
        for job_id in self.ids:
            self.ended(job_id, Status.SUCCEEDED)
        again = self.submit(content=self.url("content", 0), styles=[style])
        self.ended(again, Status.SUCCEEDED)
        first, second = self.job(self.ids[0]).output, self.job(again).output
        assert first == second, "they share their result"
        gone = self.web.route(f"/{self.name}-gone.png", status(404))
        self.ended(self.submit(content=gone, styles=[style]), Status.FAILED)

    def bring_long_ones(self) -> str:
        """A job that has a checkpoint and a preview, behind it one that is canceled while it waits."""
        long = self.submit(content=self.data(9), styles=[self.data(10)], spec=LONG)
        self.painted(long)
        waiting = self.submit(content=self.data(11), styles=[self.data(10)], spec={**LONG, "seed": 5})
        self.cancel(waiting)
        return long

    def bring_batch(self) -> str:
        """A batch of three, one of which fails; returns its ID once it has ended."""
        key, style = f"key-{self.name}-batch", self.url("style", 1)
        gone = self.web.route(f"/{self.name}-gone.png", status(404))
        items = [
            {"custom_id": f"item-{self.name}-{number}", "content": content}
            for number, content in enumerate((self.url("content", 0), self.data(2), gone))
        ]
        defaults = {"styles": [style], "spec": SMALL, "metadata": {f"meta-{self.name}": "said so"}}
        body = {"items": items, "defaults": defaults, "metadata": {f"about-{self.name}": "the batch"}}
        answer = self.http.post("/v1/batches", json=body, headers={"Idempotency-Key": key})
        assert answer.status_code == 202, answer.text
        batch: str = answer.json()["id"]
        self.words |= {batch, key, f"meta-{self.name}", f"about-{self.name}"}
        self.words |= {item["custom_id"] for item in items}

        def completed() -> bool:
            return bool(self.http.get(f"/v1/batches/{batch}").json()["status"] == "completed")

        wait_for(completed, "the batch to be completed", SECONDS)
        for item in self.http.get(f"/v1/batches/{batch}/items").json()["items"]:
            self.job(item["id"])
        return batch

    def cancel(self, job_id: str) -> None:
        assert self.http.post(f"/v1/jobs/{job_id}/cancel").is_success
        self.ended(job_id, Status.CANCELED)

    def traces(self) -> set[str]:
        return traces(self.rig.client, self.rig.objects, self.words)


def test_of_what_is_deleted_or_has_expired_nothing_is_left(rig: Rig, web: Web) -> None:
    _, url = rig.api()
    rig.worker(Queue.INTAKE)
    painter = rig.worker(Queue.PAINT)
    with httpx.Client(base_url=url, timeout=60, limits=NOT_KEPT) as http:
        deleter = Guest(rig, http, web, "deleter", 0)
        leaver = Guest(rig, http, web, "leaver", 100, {"retention_seconds": 1})
        deleter.bring_small_ones()
        leaver.bring_small_ones()
        left_alone = leaver.bring_long_ones()
        leaver.cancel(left_alone)
        interrupted = deleter.bring_long_ones()
        painter.kill()
        rig.worker(Queue.PAINT)
        wait_for(lambda: deleter.job(interrupted).attempt_errors, "the lease to run out", SECONDS)
        deleter.cancel(interrupted)
        for guest in (deleter, leaver):
            assert len(guest.traces()) > 100, "what is looked for is there to be found"

        for job_id in deleter.ids:
            assert http.delete(f"/v1/jobs/{job_id}").status_code == 204
            assert http.get(f"/v1/jobs/{job_id}").status_code == 404
        _let_time_pass(rig)
        at_once = {uid for uid in deleter.words if uid.startswith(("job_", "own-", "key-", "meta-"))}
        # A painter that was canceled may just be taking away its last checkpoint.
        _wait_for_none(lambda: traces(rig.client, rig.objects, at_once), "the jobs themselves to be gone")

    rig.worker(Queue.CHORES)
    for guest in (deleter, leaver):
        _wait_until_gone(rig, guest)

    with httpx.Client(base_url=url, timeout=60, limits=NOT_KEPT) as http:
        batcher = Guest(rig, http, web, "batcher", 200)
        batch = batcher.bring_batch()
        assert len(batcher.traces()) > 20
        assert http.delete(f"/v1/batches/{batch}").status_code == 204
        assert http.get(f"/v1/batches/{batch}").status_code == 404
    _wait_until_gone(rig, batcher)
    assert [str(finding) for finding in audit(rig.client, rig.objects, rig.config)] == []
    assert [stat.key for stat in rig.objects.list("") if not stat.key.startswith("styles/")] == []


def _let_time_pass(rig: Rig) -> None:
    """What is kept for a while whatever becomes of its job, and goes by itself, is taken for gone."""
    for key in rig.client.scan_iter(Key.FETCH + "*"):
        assert 0 < rig.client.pttl(key) <= max(COPY_SECONDS, BATCH_SECONDS) * 1000
        rig.client.delete(key)
    rig.store.trim_changes(-1)  # as chores do after `tidy.CHANGES_SECONDS`


def _wait_until_gone(rig: Rig, guest: Guest) -> None:
    """Wait until nothing is left. Chores are asked to go on, instead of being waited for."""

    def left() -> set[str]:
        _let_time_pass(rig)
        found = guest.traces()
        if found and not rig.client.llen(Queue.CHORES):
            rig.client.lpush(Queue.CHORES, message(Queue.CHORES))
        return found

    _wait_for_none(left, f"all of {guest.name} to be gone")


def _wait_for_none(look: Callable[[], set[str]], what: str) -> None:
    """Wait until nothing is found any more; fails with what was found last."""
    left: set[str] = set()

    def nothing() -> bool:
        nonlocal left
        left = look()
        return not left

    try:
        wait_for(nothing, what, SECONDS)
    finally:
        assert sorted(left) == []

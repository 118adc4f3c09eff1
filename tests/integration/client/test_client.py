"""The client against the real API: every call, and what both make of each other's JSON."""

import asyncio
import hashlib
import http.client
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from client import ApiError, AsyncImpasto, Impasto, JobFailed, Request, Style, webhooks
from client.models import Job
from shared.backbones import BACKBONES
from shared.errors import FetchFailed
from shared.jobs.record import Queue
from shared.jobs.results import Claim
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.spec import PRESETS
from tests.integration.client.conftest import TOKEN
from tests.support.api import CONTENT, STYLE, ApiServer, finish, picture_bytes, start_painting

PICTURE = picture_bytes()
SHA256 = hashlib.sha256(PICTURE).hexdigest()


def claim_paint(store: JobStore) -> Claim:
    claim = store.claim(Queue.PAINT, "painter", ["compact"])
    assert claim
    return claim


def test_a_job_by_address_is_followed_to_its_picture(
    impasto: Impasto, store: JobStore, objects: ObjectStore, tmp_path: Path
) -> None:
    job = impasto.submit(
        CONTENT, [STYLE, Style(STYLE, 0.5)], spec={"size": 64}, metadata={"order": "A-17"}, priority=2
    )
    assert (job.status, job.stage, job.queue_position) == ("queued", "fetching", 1)
    assert (job.spec["size"], job.metadata, job.priority) == (64, {"order": "A-17"}, 2)
    claim = start_painting(store)
    now = impasto.get(job.id)
    assert (now.status, now.stage, now.queue_position) == ("processing", "painting", None)
    assert now.progress is not None
    assert (now.progress.step, now.progress.steps) == (10, 100)
    finish(store, objects, claim, PICTURE, SHA256)
    done = impasto.wait(job.id)
    assert done.succeeded
    assert done.metrics["evaluations"] == 100
    assert done.completed_at is not None
    path = impasto.download(done, tmp_path / "painting.png")
    assert path.read_bytes() == PICTURE


def test_waiting_tells_each_change_until_the_picture_is_there(
    impasto: Impasto, store: JobStore, objects: ObjectStore
) -> None:
    job = impasto.submit(CONTENT, [STYLE])
    seen: list[str] = []

    def paint_at_the_first_call(job: Job) -> None:
        seen.append(job.status)
        if len(seen) == 1:
            finish(store, objects, start_painting(store), PICTURE, SHA256)

    assert impasto.wait(job.id, timeout=30, on_progress=paint_at_the_first_call).succeeded
    assert seen == ["queued", "succeeded"]


def test_an_answer_that_was_waited_for_says_each_header_once(impasto: Impasto, service: ApiServer) -> None:
    """Some clients, Node's among them, refuse a Content-Length that is said twice."""
    job = impasto.submit(CONTENT, [STYLE])
    headers = {"Authorization": f"Bearer {TOKEN}", "Prefer": "wait=1"}
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(service.url).port)) as connection:
        connection.request("GET", f"/v1/jobs/{job.id}", headers=headers)
        answer = connection.getresponse()
        names = [name.lower() for name, _ in answer.getheaders()]
        assert answer.getheader("Preference-Applied") == "wait=1"
    assert len(names) == len(set(names)), names


def test_events_tell_of_a_job_until_it_has_ended(
    impasto: Impasto, store: JobStore, objects: ObjectStore
) -> None:
    job = impasto.submit(CONTENT, [STYLE])
    events = impasto.events(job.id)
    first = next(events)
    assert (first.type, first.data["status"]) == ("job", "queued")
    assert first.id
    finish(store, objects, start_painting(store), PICTURE, SHA256)
    later = list(events)
    assert later[-1].data["status"] == "succeeded"
    again = list(impasto.events(job.id, last_event_id=first.id))
    assert again[-1].data["status"] == "succeeded"


def test_many_jobs_are_handed_in_and_watched(impasto: Impasto, store: JobStore, objects: ObjectStore) -> None:
    requests = (Request(CONTENT, [STYLE], id=f"many-{number}", spec={"seed": number}) for number in range(12))
    outcomes = list(impasto.submit_many(requests))
    assert {outcome.job and outcome.job.id for outcome in outcomes} == {f"many-{n}" for n in range(12)}
    ended = impasto.as_completed(outcomes)
    done: set[str] = set()
    for half in (outcomes[:6], outcomes[6:]):
        for _ in half:
            finish(store, objects, start_painting(store), PICTURE, SHA256)
        done |= {next(ended).id for _ in half}
    assert len(done) == 12
    assert next(ended, None) is None


def test_the_asynchronous_client_does_a_job(
    impasto: Impasto,  # noqa: ARG001 - a live worker
    service: ApiServer,
    store: JobStore,
    objects: ObjectStore,
    pictures: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with AsyncImpasto(service.url, TOKEN) as client:
            job = await client.submit(pictures[0], [pictures[1]])
            waiting = asyncio.create_task(client.wait(job.id, timeout=60))
            events = asyncio.create_task(_statuses(client, job.id))
            claim = claim_paint(store)
            finish(store, objects, claim, PICTURE, SHA256)
            await client.download(await waiting, tmp_path / "painting.png")
            assert (await events)[-1] == "succeeded"
            assert [one.id async for one in client.jobs()] == [job.id]

    asyncio.run(main())
    assert (tmp_path / "painting.png").read_bytes() == PICTURE


async def _statuses(client: AsyncImpasto, job: str) -> list[str]:
    return [event.data["status"] async for event in client.events(job)]


def test_the_secrets_of_webhooks_are_those_that_sign(impasto: Impasto) -> None:
    [secret, *_] = impasto.webhook_secrets()
    body = b'{"type": "job.succeeded", "data": {"id": "x"}}'
    stamp = int(time.time())
    headers = {"webhook-id": "m", "webhook-timestamp": str(stamp)}
    headers["webhook-signature"] = webhooks.sign(secret, "m", stamp, body)
    assert webhooks.verify(headers, body, impasto.webhook_secrets()).data == {"id": "x"}


def test_files_become_uploads_and_need_no_intake(
    impasto: Impasto, store: JobStore, pictures: tuple[Path, Path]
) -> None:
    job = impasto.submit(pictures[0], [pictures[1].read_bytes()])
    assert job.stage == "waiting"
    claim = claim_paint(store)
    assert (claim.job.content.width, claim.job.content.height) == (32, 24)
    assert claim.job.owner == "alice"


def test_an_upload_can_stand_in_several_jobs(impasto: Impasto, pictures: tuple[Path, Path]) -> None:
    upload = impasto.upload(pictures[0])
    assert (upload.width, upload.height) == (32, 24)
    assert upload.ref == f"upload:{upload.id}"
    assert impasto.submit(upload.ref, [upload.ref]).id != impasto.submit(upload.ref, [upload.ref]).id


def test_the_same_key_or_id_gives_the_same_job(impasto: Impasto) -> None:
    first = impasto.submit(CONTENT, [STYLE], idempotency_key="k")
    assert impasto.submit(CONTENT, [STYLE], idempotency_key="k").id == first.id
    assert impasto.submit(CONTENT, [STYLE], id="order-17").id == "order-17"
    assert impasto.submit(CONTENT, [STYLE], id="order-17").id == "order-17"
    with pytest.raises(ApiError, match="conflict"):
        impasto.submit(CONTENT, [STYLE, STYLE], id="order-17")
    assert len(list(impasto.jobs())) == 2


def test_jobs_are_listed_page_by_page_newest_first(impasto: Impasto) -> None:
    ids = [impasto.submit(CONTENT, [STYLE]).id for _ in range(5)]
    impasto.cancel(ids[2])
    assert [job.id for job in impasto.jobs(page_size=2)] == ids[::-1]
    assert [job.id for job in impasto.jobs(status="canceled")] == [ids[2]]


def test_cancel_retry_and_delete(impasto: Impasto) -> None:
    job = impasto.submit(CONTENT, [STYLE])
    assert impasto.cancel(job.id).status == "canceled"
    with pytest.raises(JobFailed, match="canceled"):
        impasto.wait(job.id)
    again = impasto.retry(job.id)
    assert (again.status, again.retry_of) == ("queued", job.id)
    impasto.delete(job.id)
    with pytest.raises(ApiError) as caught:
        impasto.get(job.id)
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_job_that_failed_says_why(impasto: Impasto, store: JobStore) -> None:
    job = impasto.submit(CONTENT, [STYLE])
    claim = store.claim(Queue.INTAKE, "intake")
    assert claim
    store.fail(claim, FetchFailed("example.org answered 404", pointer="/content"))
    with pytest.raises(JobFailed, match=r"example\.org answered 404") as caught:
        impasto.wait(job.id)
    assert caught.value.job.error is not None
    assert caught.value.job.error.pointer == "/content"


def test_every_fault_of_a_request_arrives_with_its_pointer(impasto: Impasto) -> None:
    with pytest.raises(ApiError) as caught:
        impasto.submit("data:nonsense", [], spec={"size": 1, "colour": "blue", "backbone": "vgg19"})
    pointers = {fault.pointer for fault in caught.value.errors}
    assert {"/styles", "/spec/size", "/spec/colour", "/spec/backbone"} <= pointers
    assert caught.value.request_id


def test_without_the_token_nothing_is_answered(impasto: Impasto, service: ApiServer) -> None:
    with Impasto(service.url, "guessed") as stranger, pytest.raises(ApiError) as caught:
        next(stranger.jobs())
    assert (caught.value.status, caught.value.code) == (401, "unauthorized")
    assert list(impasto.jobs()) == []


def test_backbones_and_presets_are_the_catalogues(impasto: Impasto) -> None:
    assert {one.name: one.available for one in impasto.backbones()} == {
        name: name == "compact" for name in BACKBONES
    }
    assert [one.name for one in impasto.presets()] == list(PRESETS)

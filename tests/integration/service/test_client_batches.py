"""The client's batches against the whole service."""

import os
import signal
import zipfile
from pathlib import Path

import pytest

from client import ApiError, BatchFailed, Impasto, Request
from deploy.local import House
from tests.integration.service.support import LONG, SECONDS, facts, picture
from tests.support.waiting import wait_for

#: Paints at once.
QUICK = {"size": 32, "steps": 3, "pyramid": 1}


def items(count: int, first_hue: int = 0) -> list[Request]:
    return [Request(picture(hue=first_hue + 20 * n), custom_id=f"picture {n}") for n in range(count)]


def test_a_batch_from_files_to_results(impasto: Impasto, tmp_path: Path) -> None:
    style = tmp_path / "style.png"
    style.write_bytes(picture(48, 48, 77))
    told: list[int] = []
    batch = impasto.batches.create(
        items(4), defaults=Request("", [style], spec=QUICK), metadata={"night": "1"}
    )
    assert (batch.counts.total, batch.metadata) == (4, {"night": "1"})
    done = impasto.batches.wait(batch.id, SECONDS, on_progress=lambda one: told.append(one.counts.ended))
    assert (done.counts.succeeded, done.counts.open) == (4, 0)
    assert told[-1] == 4
    results = list(impasto.batches.results(batch.id))
    assert [(one.index, one.custom_id, one.status) for one in results] == [
        (n, f"picture {n}", "succeeded") for n in range(4)
    ]
    jobs = list(impasto.batches.items(batch.id, status="succeeded", page_size=3))
    assert [job.custom_id for job in jobs] == [f"picture {n}" for n in range(4)]
    assert {job.batch for job in jobs} == {batch.id}
    path = impasto.download(jobs[0], tmp_path / "painting.png")
    assert facts(path.read_bytes()) == ("PNG", (32, 21))
    assert batch.id in [one.id for one in impasto.batches.list()]


def test_any_number_of_items_becomes_batches(impasto: Impasto) -> None:
    style = impasto.upload(picture(48, 48, 77)).ref
    defaults = Request("", [style], spec={**QUICK, "seed": 2})
    made = list(impasto.batches.create_many(items(5), defaults=defaults, size=2))
    assert [batch.counts.total for batch in made] == [2, 2, 1]
    for batch in made:
        assert impasto.batches.wait(batch.id, SECONDS).counts.succeeded == batch.counts.total


def test_the_same_key_is_the_same_batch(impasto: Impasto) -> None:
    wanted = [Request(impasto.upload(picture(hue=3)).ref, [impasto.upload(picture(hue=9)).ref], spec=QUICK)]
    first = impasto.batches.create(wanted, idempotency_key="the-same-batch")
    assert impasto.batches.create(wanted, idempotency_key="the-same-batch").id == first.id


def test_faults_are_told_by_their_lines(impasto: Impasto) -> None:
    ref = impasto.upload(picture(hue=3)).ref
    wrong = [Request(ref, [ref]), Request("upload:up_none", [ref]), Request(ref, [ref], spec={"size": 1})]
    with pytest.raises(ApiError) as caught:
        impasto.batches.create(wrong, metadata={"a": "b"})
    found = {(fault.line, fault.pointer) for fault in caught.value.errors}
    assert found == {(3, "/content"), (4, "/spec/size")}


def test_a_batch_can_be_canceled(impasto: Impasto) -> None:
    ref = impasto.upload(picture(hue=3)).ref
    batch = impasto.batches.create([Request(ref, [ref], spec={**LONG, "seed": n}) for n in range(3)])
    impasto.batches.cancel(batch.id)
    with pytest.raises(BatchFailed, match="canceled"):
        impasto.batches.wait(batch.id, SECONDS)
    assert impasto.batches.get(batch.id).counts.canceled == 3


def test_the_events_of_a_batch_tell_of_each_item_and_of_its_end(impasto: Impasto) -> None:
    ref = impasto.upload(picture(hue=43)).ref
    batch = impasto.batches.create([Request(ref, [ref], spec={**QUICK, "seed": n}) for n in range(3)])
    events = list(impasto.batches.events(batch.id))
    assert events[0].type == "batch"
    assert (events[-1].type, events[-1].data["status"]) == ("batch", "completed")
    jobs = {job.id for job in impasto.batches.items(batch.id)}
    assert {event.data["id"] for event in events if event.type == "item"} <= jobs


def test_a_batch_is_checked_in_the_background_and_its_faults_can_be_read(impasto: Impasto) -> None:
    ref = impasto.upload(picture(hue=43)).ref
    good = impasto.batches.create([Request(ref, [ref], spec=QUICK)] * 3, background=True)
    assert good.status in ("validating", "processing")
    assert impasto.batches.wait(good.id, SECONDS).counts.succeeded == 3
    bad = impasto.batches.create(
        [Request(ref, [ref]), Request(ref, [ref], spec={"size": 1})], background=True
    )
    with pytest.raises(BatchFailed, match="line 2"):
        impasto.batches.wait(bad.id, SECONDS)
    assert [(fault.line, fault.pointer) for fault in impasto.batches.errors(bad.id)] == [(2, "/spec/size")]


def test_what_did_not_succeed_is_handed_in_again_and_an_ended_batch_deleted(impasto: Impasto) -> None:
    ref = impasto.upload(picture(hue=53)).ref
    batch = impasto.batches.create([Request(ref, [ref], spec={**LONG, "seed": n}) for n in range(2)])
    impasto.batches.cancel(batch.id)
    wait_for(lambda: impasto.batches.get(batch.id).ended, "the cancel", SECONDS)
    again = impasto.batches.retry(batch.id)
    assert (again.retry_of, again.counts.total) == (batch.id, 2)
    impasto.batches.cancel(again.id)
    impasto.batches.delete(batch.id)
    with pytest.raises(ApiError, match="not_found"):
        impasto.batches.get(batch.id)


def test_waiting_lives_through_a_restart_of_the_api(impasto: Impasto, house: House) -> None:
    ref = impasto.upload(picture(hue=33)).ref
    slower = {**QUICK, "steps": 60}
    batch = impasto.batches.create([Request(ref, [ref], spec={**slower, "seed": n}) for n in range(4)])
    wait_for(lambda: impasto.batches.get(batch.id).counts.ended, "the first item", SECONDS)
    os.kill(house.pids["api"], signal.SIGTERM)
    assert impasto.batches.wait(batch.id, SECONDS).counts.succeeded == 4


def test_the_archive_of_a_batch_has_its_paintings(impasto: Impasto, tmp_path: Path) -> None:
    ref = impasto.upload(picture(hue=63)).ref
    items = [Request(ref, [ref], spec={**QUICK, "seed": n}, custom_id=f"n{n}") for n in range(3)]
    batch = impasto.batches.create(items)
    impasto.batches.wait(batch.id, SECONDS)
    path = impasto.batches.archive(batch.id, tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == 3
        assert facts(archive.read(pictures[0])) == ("PNG", (32, 21))

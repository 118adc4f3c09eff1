"""Bodies of events: parts of what a poll shows, and the same bytes however late they are made."""

import json
from dataclasses import replace
from typing import Any

import pytest

from api.jobs.views import JobError, JobView, OutputView
from api.outgoing import MESSAGES
from shared.errors import ErrorInfo
from shared.jobs.batch_record import Batch
from shared.jobs.new_job import new_record
from shared.jobs.record import SCHEMA, Job, Output, Status
from shared.webhooks.events import TEST_EVENT, BatchEvent, JobEvent
from shared.webhooks.payloads import (
    EventError,
    EventOutput,
    JobData,
    batch_message,
    greeting_message,
    job_message,
)
from tests.support.jobs import new_job

BASE = "https://impasto.example.org"
AT = 1_800_000_000.5


def job(status: str, **changes: Any) -> Job:
    """A job's record with this status."""
    record = new_record(new_job(metadata={"order": "A-17"}, batch_id="batch_1", custom_id="a"))
    record |= {
        "version": "7",
        "status": status,
        "created_at": "1800000000000",
        "deadline_at": "1800086400000",
    }
    return replace(Job.from_hash(record), **changes)


PAINTING = job("processing", started_at=AT, attempt=1)
SUCCEEDED = job(
    "succeeded",
    started_at=AT,
    completed_at=AT + 10,
    expires_at=AT + 1000,
    attempt=2,
    output=Output("outputs/x", "5f0c", 812_345, 768, 512, "image/png"),
)


def test_an_event_shows_what_a_poll_shows_under_the_same_names() -> None:
    beside = {"batch", "custom_id", "version"}
    assert set(JobData.model_fields) - beside <= set(JobView.model_fields)
    assert set(EventOutput.model_fields) == set(OutputView.model_fields)
    assert set(EventError.model_fields) == set(JobError.model_fields)


def test_a_finished_job_comes_with_its_picture() -> None:
    message = job_message(JobEvent.SUCCEEDED, AT + 10, 9, SUCCEEDED, BASE).model_dump(mode="json")
    assert (message["type"], message["timestamp"]) == ("job.succeeded", "2027-01-15T08:00:10.500Z")
    data = message["data"]
    assert (data["status"], data["attempt"], data["version"]) == ("succeeded", 2, 9)
    assert (data["batch"], data["custom_id"], data["metadata"]) == ("batch_1", "a", {"order": "A-17"})
    self = f"{BASE}/v1/jobs/{SUCCEEDED.id}"
    assert data["urls"] == {"self": self, "output": f"{self}/output", "items": None, "results": None}
    assert data["output"]["url"] == f"{self}/output"
    assert data["error"] is None


def test_a_failed_job_comes_with_its_error() -> None:
    error = ErrorInfo("mask_empty", "The mask leaves nothing", "The mask is black", "/styles/0/mask")
    data = job_message(JobEvent.FAILED, AT, 3, job("failed", error=error), BASE).data
    assert (data.status, data.output) == (Status.FAILED, None)
    assert data.error == EventError(
        code="mask_empty",
        title="The mask leaves nothing",
        detail="The mask is black",
        pointer="/styles/0/mask",
    )


def test_that_painting_began_is_told_alike_once_the_job_has_ended() -> None:
    then = job_message(JobEvent.PROCESSING, AT, 4, PAINTING, BASE).model_dump_json()
    later = replace(SUCCEEDED, uid=PAINTING.uid, id=PAINTING.id)
    assert job_message(JobEvent.PROCESSING, AT, 4, later, BASE).model_dump_json() == then


def test_without_an_address_of_its_own_the_service_tells_paths() -> None:
    data = job_message(JobEvent.SUCCEEDED, AT, 9, SUCCEEDED, "").data
    assert data.urls.self == f"/v1/jobs/{SUCCEEDED.id}"


def test_an_ended_batch_comes_with_its_counts() -> None:
    record = {
        "uid": "batch_1",
        "id": "batch_1",
        "owner": "ann",
        "schema": "1",
        "version": "12",
        "status": "canceled",
        "cancel_requested": "1",
        "body_hash": "",
        "total": "5",
        "loaded": "4",
        "n:succeeded": "3",
        "n:failed": "1",
        "metadata": '{"night":"1"}',
        "created_at": "1800000000000",
        "completed_at": "1800000010500",
        "expires_at": "1800001000000",
    }
    data = batch_message(BatchEvent.CANCELED, AT, 12, Batch.from_hash(record), BASE).model_dump(mode="json")[
        "data"
    ]
    assert data["counts"] == {
        "total": 5,
        "queued": 0,
        "processing": 0,
        "succeeded": 3,
        "failed": 1,
        "canceled": 1,
        "expired": 0,
    }
    assert (data["status"], data["metadata"], data["completed_at"]) == (
        "canceled",
        {"night": "1"},
        "2027-01-15T08:00:10.500Z",
    )
    assert data["urls"]["items"] == f"{BASE}/v1/batches/batch_1/items"
    assert data["error"] is None
    lost = {
        "code": "batch_lines_lost",
        "title": "Lines are lost",
        "detail": "Send them again.",
        "pointer": None,
    }
    failed = record | {"status": "failed", "cancel_requested": "", "error": json.dumps(lost)}
    told = batch_message(BatchEvent.FAILED, AT, 12, Batch.from_hash(failed), BASE).data
    assert told.error is not None
    assert told.error.model_dump() == lost


@pytest.mark.parametrize("event", [*JobEvent, *BatchEvent, TEST_EVENT])
def test_the_document_knows_the_body_of_every_event(event: str) -> None:
    assert event in MESSAGES


def test_a_test_says_that_it_is_one() -> None:
    assert greeting_message(AT).type == TEST_EVENT


def test_records_here_are_of_the_present_schema() -> None:
    assert SUCCEEDED.schema == SCHEMA

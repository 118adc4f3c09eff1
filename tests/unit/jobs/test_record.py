"""What is written into a record is what is read from it."""

import json

from shared.errors import ErrorInfo, FetchFailed
from shared.jobs.record import Job, Picture, Status, new_record, to_json
from tests.support.jobs import clean, new_job


def test_a_new_record_reads_as_the_job_it_was_made_of() -> None:
    new = new_job(
        metadata={"order": "ü"}, styles=(clean("a"), Picture("https://x/b.jpg", weight=0.5)), priority=4
    )
    times = {"created_at": "1000", "deadline_at": "2500"}
    job = Job.from_hash({**new_record(new), **times, "version": "1", "status": "queued", "stage": "fetching"})

    for name in ("uid", "id", "owner", "spec", "content", "styles", "metadata", "body_hash", "priority"):
        assert getattr(job, name) == getattr(new, name)
    assert (job.created_at, job.deadline_at, job.attempt, job.retry_of) == (1.0, 2.5, 0, None)


def test_json_is_compact_and_leaves_out_what_is_none() -> None:
    assert to_json(Picture("ü")) == '{"source":"ü","weight":1.0}'
    error = ErrorInfo.of(FetchFailed("404"))
    assert ErrorInfo(**json.loads(to_json(error))) == error


def test_four_states_are_terminal() -> None:
    assert [status for status in Status if status.terminal] == ["succeeded", "failed", "canceled", "expired"]

"""A batch's record as callers see it."""

from typing import Any

import pytest

from api import links
from api.batches.wire import batch_view, retry_after
from shared.jobs.batch_record import SLOT, Batch

NOW = 1_800_000_000.0
#: Ten items of a hundred ended in the last minute.
RECORD = {
    "uid": "batch_1",
    "id": "batch_1",
    "owner": "ann",
    "schema": "1",
    "version": "3",
    "status": "processing",
    "total": "100",
    "loaded": "100",
    "n:queued": "90",
    "n:succeeded": "10",
    f"w:{int(NOW * 1000) // SLOT}": "10",
    "metadata": "{}",
    "body_hash": "",
    "created_at": str(int(NOW * 1000) - 120_000),
    "started_at": str(int(NOW * 1000) - 60_000),
}


LOST = '{"code":"batch_lines_lost","title":"lost","detail":"send them again"}'


def told(**changes: Any) -> tuple[float | None, float | None, int | None]:
    """ETA, throughput, and when to poll again."""
    batch = Batch.from_hash(RECORD | changes)
    with links.seen_from("http://paint.example.org"):
        view = batch_view(batch, NOW)
    return view.eta_seconds, view.throughput_per_minute, retry_after(batch, NOW)


def test_what_is_left_goes_on_at_the_rate_of_the_last_minutes() -> None:
    assert told() == (540, 10, 30)


def test_items_that_wait_for_anothers_picture_are_not_left_to_do() -> None:
    assert told(following="60") == (180, 10, 30)


@pytest.mark.parametrize("following", ["90", "95"])
def test_nothing_is_foretold_where_all_that_is_left_waits_for_other_jobs(following: str) -> None:
    assert told(following=following) == (None, 10, 1)


def test_of_a_batch_that_has_lost_its_lines_no_more_is_to_do() -> None:
    changes = {"loaded": "20", "n:queued": "0", "n:processing": "10", "error": LOST}
    assert told(**changes) == (60, 10, 15)


def test_a_canceled_batch_has_nothing_to_do_but_what_is_painted() -> None:
    changes = {"loaded": "20", "n:queued": "0", "n:processing": "10", "cancel_requested": "1"}
    assert told(**changes) == (60, 10, 15)

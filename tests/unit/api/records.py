"""Records that no store has seen."""

from typing import Any

from shared.jobs.pictures import Picture
from shared.jobs.record import Job, Stage, Status
from shared.spec import Spec


def job(**changes: Any) -> Job:
    """The record of a job that waits for a painter, but for these fields."""
    values: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    values |= {
        "uid": "uid_1",
        "id": "A-17",
        "owner": "alice",
        "schema": 1,
        "version": 4,
        "status": Status.QUEUED,
        "stage": Stage.WAITING,
        "spec": Spec(backbone="compact"),
        "content": Picture("https://example.org/a.jpg"),
        "styles": (Picture("upload:up_1", 0.5, "inputs/abc", "abc", 640, 480),),
        "metadata": {"order": "A-17"},
        "body_hash": "x",
        "priority": 0,
        "attempt": 0,
        "attempt_errors": (),
        "cancel_requested": False,
        "created_at": 1_700_000_000.123,
        "deadline_at": 1_700_086_400.0,
        "seconds": {},
        "loss": {},
    }
    return Job(**(values | changes))

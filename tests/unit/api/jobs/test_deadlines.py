"""The header `Cancel-After`, held against the body that says the same."""

import pytest
from flask import Flask

from api.incoming import read
from api.jobs.deadlines import with_deadline
from shared.requests.models import JobRequest

BODY = {"content": "https://example.org/a.jpg", "styles": ["https://example.org/b.jpg"]}


def parsed(header: str | None, **body: object):
    headers = {} if header is None else {"Cancel-After": header}
    with Flask("test").test_request_context(method="POST", json=BODY | body, headers=headers):
        return with_deadline(read(JobRequest))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("90", 90),
        ("7.5", 7.5),
        ("90s", 90),
        ("5m", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h0m5s", 3605),
        ("720h", 2_592_000),
    ],
)
def test_a_time_is_taken_as_seconds_or_with_units(header: str, seconds: float) -> None:
    found = parsed(header)
    assert found.faults == []
    assert found.model.deadline_seconds == seconds
    assert found.model.fingerprint == parsed(None, deadline_seconds=float(seconds)).model.fingerprint


def test_without_the_header_the_body_counts() -> None:
    assert parsed(None).model.deadline_seconds is None
    assert parsed(None, deadline_seconds=60).model.deadline_seconds == 60


def test_another_time_is_another_request() -> None:
    assert parsed("60").model.fingerprint != parsed("61").model.fingerprint
    assert parsed("60").model.fingerprint == parsed("1m").model.fingerprint
    assert parsed("60").model.fingerprint != parsed(None).model.fingerprint


@pytest.mark.parametrize(
    "header", ["", "soon", "0", "0.5s", "-5", "5 m", "30m1h", "5d", "1e3", "inf", "\xb3", "721h", "9" * 400]
)
def test_what_is_no_time_is_refused_with_examples(header: str) -> None:
    (fault,) = parsed(header).faults
    assert fault.pointer == "/headers/Cancel-After"
    assert "1h30m" in fault.detail


def test_both_are_refused_with_both_their_names() -> None:
    (fault,) = parsed("60", deadline_seconds=60).faults
    assert fault.pointer == "/headers/Cancel-After"
    assert "Cancel-After" in fault.detail
    assert "deadline_seconds" in fault.detail


def test_faults_of_the_header_and_of_the_body_come_together() -> None:
    assert [fault.pointer for fault in parsed("soon", priority=10).faults] == [
        "/priority",
        "/headers/Cancel-After",
    ]

"""Prefer: wait, as RFC 7240 writes it."""

import pytest
from flask import Flask

from api import preferences


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (["wait=10"], 10),
        (["WAIT=10"], 10),
        (['wait="10"'], 10),
        (["wait = 10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (["wait=10, wait=20"], 10),
        (["wait=10; foo=bar"], 10),
        (["wait=61"], 60),
        (["wait=999999999"], 60),
        (["wait=0"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=soon"], None),
        (["wait"], None),
        (["wait=9999999999999999"], None),
        (["return=minimal"], None),
        ([], None),
    ],
)
def test_how_long_a_request_may_wait(given: list[str], seconds: int | None) -> None:
    headers = [("Prefer", value) for value in given]
    with Flask("test").test_request_context(headers=headers):
        assert preferences.wait_seconds() == seconds


def test_other_preferences_are_there_by_name() -> None:
    with Flask("test").test_request_context(headers={"Prefer": "Respond-Async, wait=5"}):
        assert preferences.preferences() == {"respond-async": "", "wait": "5"}

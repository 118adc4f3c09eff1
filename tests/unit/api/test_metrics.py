"""What /metrics promises: names by convention, one page that lists them, labels that nobody makes up."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from api import metric_families
from api.traffic import Traffic

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
EVERY = metric_families.every_family()
FAMILIES = [*EVERY.store, *EVERY.process]


def scraped(client: FlaskClient, **headers: str) -> dict[str, Metric]:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_named_explained_and_listed(family: Metric) -> None:
    assert re.fullmatch(r"impasto(_[a-z]+)+", family.name)
    assert len(family.documentation) > 10
    assert family.documentation.endswith(".")
    unit = family.name.rpartition("_")[2]
    assert unit not in ("ms", "milliseconds", "minutes", "kilobytes", "megabytes", "total", "count")
    if family.type == "histogram":
        assert unit == "seconds"
    name = f"{family.name}_total" if family.type == "counter" else family.name
    assert f"\n| `{name}` | {family.type} |" in PAGE


def test_the_page_lists_no_metric_that_is_gone() -> None:
    listed = {name.removesuffix("_total") for name in re.findall(r"^\| `(impasto_\w+)`", PAGE, re.MULTILINE)}
    assert listed == {family.name for family in FAMILIES}


def test_without_redis_the_process_is_told_of_all_the_same(http: FlaskClient) -> None:
    http.get("/v1/presets")
    found = scraped(http)
    assert found["impasto_redis_up"].samples[0].value == 0
    assert "impasto_jobs" not in found
    assert "impasto_build_info" in found
    assert "process_resident_memory_bytes" in found
    [sample] = [s for s in found["impasto_api_requests"].samples if s.labels["route"] == "/v1/presets"]
    assert (sample.labels["method"], sample.labels["status"], sample.value) == ("GET", "200", 1)


def test_requests_and_problems_are_counted_by_what_there_is_not_by_what_was_asked(http: FlaskClient) -> None:
    for number in range(5):
        http.get(f"/v1/jobs/job-{number}")
        http.get(f"/made/up/{number}")
        http.open("/v1/jobs", method=f"MADE{number}")
    found = scraped(http)
    counted = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for s in found["impasto_api_requests"].samples
    }
    assert counted == {
        ("GET", "/v1/jobs/<job_id>", "503"): 5,
        ("GET", "other", "404"): 5,
        ("other", "other", "405"): 5,
    }
    problems = {s.labels["code"]: s.value for s in found["impasto_api_problems"].samples}
    assert problems == {"store_unavailable": 5, "not_found": 5, "method_not_allowed": 5}


def test_times_fall_into_their_buckets() -> None:
    traffic = Traffic()
    for seconds in (0.001, 0.0011, 3, 100):
        traffic.answered("GET", "/x", 200, seconds)
    [_, times, _] = traffic.collect()
    found = {s.labels.get("le", s.name): s.value for s in times.samples}
    assert (found["0.001"], found["0.0025"], found["2.5"], found["5.0"]) == (1, 2, 2, 3)
    assert (found["60.0"], found["+Inf"]) == (3, 4)
    assert found["impasto_api_request_duration_seconds_count"] == 4
    assert found["impasto_api_request_duration_seconds_sum"] == pytest.approx(103.0021)


def test_who_may_read_them_is_a_setting(make_app: Callable[..., Flask]) -> None:
    def status(token: str | None, **settings: Any) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return make_app(**settings).test_client().get("/metrics", headers=headers).status_code

    owners = {"api_tokens": {"alice": "alice-secret"}}
    assert status(None) == 200
    assert [status(token, **owners) for token in (None, "wrong", "alice-secret")] == [401, 401, 200]
    watched = {**owners, "metrics_token": "watcher"}
    assert [status(token, **watched) for token in (None, "alice-secret", "watcher")] == [401, 401, 200]
    assert status(None, metrics_token="watcher") == 401
    assert status(None, metrics_token="") == 200, "an empty variable is none"
    assert status(None, **watched, metrics="open") == 200
    assert status("watcher", **watched, metrics="off") == 404

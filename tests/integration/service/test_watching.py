"""Watching the service from outside: what happens to real jobs shows in /metrics and in JSON logs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.jobs.record import Job, Queue, Status
from tests.integration.service.support import LONG, NOT_KEPT, SMALL, picture
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.waiting import wait_for
from tests.support.web import Web, status

TOKEN, WATCHER, KEY = "owner-token-4711", "watcher-token-4712", "signature-4713"
TRACE = "ab" * 16


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, log_format="json", **SHORT_LEASE) as rig:
        yield rig


def numbers(url: str) -> dict[tuple[str, ...], float]:
    """Every sample: its name, and the values of its labels in the order of their names."""
    answer = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {WATCHER}"}, timeout=60)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def submit(http: httpx.Client, content: str, style: str, spec: dict[str, Any], request_id: str) -> str:
    body = {"content": content, "styles": [style], "spec": spec}
    answer = http.post("/v1/jobs", json=body, headers={"X-Request-Id": request_id})
    assert answer.status_code == 202, answer.text
    assert answer.headers["X-Request-Id"] == request_id
    found: str = answer.json()["id"]
    return found


def ended(rig: Rig, uid: str) -> Job:
    def look() -> Job | None:
        job = rig.store.by_uid(uid)
        return job if job and job.status.terminal else None

    return wait_for(look, f"{uid} to end", 120)


@dataclass(frozen=True)
class Played:
    """Jobs that ended each in its way, and where the API was."""

    url: str
    done: str
    failed: str
    lost: str


@pytest.fixture
def played(rig: Rig, web: Web) -> Played:
    """One job succeeds, one fails, one loses its worker and is canceled then."""
    web.file("/content.png", picture())
    web.file("/style.png", picture(hue=90))
    web.route("/gone.png", status(404))
    content, style, gone = (f"{web.url}/{name}.png?key={KEY}" for name in ("content", "style", "gone"))
    _, url = rig.api(api_tokens=json.dumps({"ann": TOKEN}), metrics_token=WATCHER)
    workers = {queue: rig.worker(queue) for queue in Queue}
    headers = {"Authorization": f"Bearer {TOKEN}", "traceparent": f"00-{TRACE}-{'cd' * 8}-01"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, limits=NOT_KEPT) as http:
        done = submit(http, content, style, SMALL, "request-done")
        failed = submit(http, gone, style, SMALL, "request-failed")
        assert ended(rig, done).status is Status.SUCCEEDED
        assert ended(rig, failed).status is Status.FAILED
        lost = submit(http, content, style, LONG, "request-lost")

        def painted() -> bool:
            job = rig.store.by_uid(lost)
            return bool(job and job.progress)

        wait_for(painted, "the job to be painted", 90)
        workers[Queue.PAINT].kill()
        rig.worker(Queue.PAINT)
        wait_for(lambda: numbers(url).get(("impasto_leases_lost_total",)), "the lease to run out")
        assert http.post(f"/v1/jobs/{lost}/cancel").is_success
        assert ended(rig, lost).status is Status.CANCELED
        assert http.get("/v1/jobs", headers={"Authorization": f"Bearer {KEY}-wrong"}).status_code == 401
    return Played(url, done, failed, lost)


def test_what_happens_to_jobs_shows_in_metrics_and_logs_and_no_secret_does(rig: Rig, played: Played) -> None:
    _check_numbers(numbers(played.url))

    for process in rig.processes:
        process.terminate()
    for process in rig.processes:
        if process.status is None:
            process.wait()
    said = {process.log.stem: process.log.read_text() for process in rig.processes}
    for name, text in said.items():
        for secret in (TOKEN, WATCHER, KEY):
            assert secret not in text, name
    lines = {name: [json.loads(line) for line in text.splitlines()] for name, text in said.items()}
    for line in chain.from_iterable(lines.values()):
        assert {"time", "level", "logger", "message"} <= line.keys()
        assert line["time"].endswith("Z")
    _check_the_apis_lines(lines["api-0"], played)
    for stage in (Queue.INTAKE, Queue.PAINT):
        of_stage = [line for name in lines if name.startswith(stage) for line in lines[name]]
        _check_a_workers_lines(of_stage, stage, played)


def _check_numbers(seen: Mapping[tuple[str, ...], float]) -> None:
    assert seen["impasto_jobs_accepted_total",] == 3
    for ending in ("succeeded", "failed", "canceled"):
        assert seen["impasto_jobs_ended_total", ending] == 1
    assert seen["impasto_jobs_failed_total", "fetch_failed"] == 1
    assert seen["impasto_attempts_failed_total", "fetch_failed"] == 1
    assert seen["impasto_attempts_failed_total", "worker_lost"] == 1
    assert seen["impasto_leases_lost_total",] == 1
    for stage, count in {"fetch": 2, "wait": 1, "paint": 1, "store": 1}.items():
        assert seen["impasto_stage_duration_seconds_count", stage] == count
    assert seen["impasto_workers", "cpu", "intake"] == 1
    assert seen["impasto_workers_resident_bytes", "cpu", "intake"] > 1e6
    assert seen["impasto_api_requests_total", "POST", "/v1/jobs", "202"] == 3
    assert seen["impasto_api_problems_total", "unauthorized"] == 1


def _check_the_apis_lines(lines: list[dict[str, Any]], played: Played) -> None:
    [post] = [line for line in lines if line["logger"] == "impasto.access" and line.get("job") == played.done]
    assert (post["method"], post["route"], post["status"]) == ("POST", "/v1/jobs", 202)
    assert (post["owner"], post["request_id"], post["trace_id"]) == ("ann", "request-done", TRACE)
    assert post["duration_ms"] > 0
    assert any(line["logger"] == "gunicorn.error" for line in lines)


def _check_a_workers_lines(lines: list[dict[str, Any]], stage: str, played: Played) -> None:
    about = [line for line in lines if line.get("job") == played.done]
    assert about, f"{stage} says nothing of the job"
    for line in about:
        assert (line["owner"], line["request_id"], line["attempt"]) == ("ann", "request-done", 1)
        assert line["worker"].startswith(f"{stage}@")
    if stage == Queue.INTAKE:
        # A store that is held up for a while is told of, too.
        warnings = [line for line in lines if line["level"] == "WARNING"]
        [warning] = [line for line in warnings if "fetch_failed" in line["message"]]
        assert (warning["job"], warning["request_id"]) == (played.failed, "request-failed")

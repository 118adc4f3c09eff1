"""The `impasto` program, as a process, against the real API."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client import Impasto
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.integration.client.conftest import TOKEN
from tests.support.api import CONTENT, STYLE, ApiServer, finish, picture_bytes, start_painting

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def impasto(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "impasto", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return impasto


@pytest.fixture
def served(run: Run, service: ApiServer, impasto: Impasto) -> Run:  # noqa: ARG001 - empties the store
    def with_address(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return run(*arguments, IMPASTO_URL=service.url, IMPASTO_TOKEN=TOKEN)

    return with_address


def test_a_job_from_submit_to_get(served: Run, store: JobStore, objects: ObjectStore, tmp_path: Path) -> None:
    submitted = served("submit", CONTENT, STYLE, "--size=64", "--metadata=order=A-17")
    assert submitted.returncode == 0, submitted.stderr
    job_id = submitted.stdout.strip()
    early = served("get", job_id)
    assert (early.returncode, early.stderr) == (1, f"impasto: job {job_id} is still queued\n")
    data = picture_bytes()
    finish(store, objects, start_painting(store), data, hashlib.sha256(data).hexdigest())
    shown = json.loads(served("status", job_id, "--json").stdout)
    assert (shown["status"], shown["metadata"]) == ("succeeded", {"order": "A-17"})
    got = served("get", job_id)
    assert got.stdout == f"{job_id}.png\n"
    assert (tmp_path / f"{job_id}.png").read_bytes() == data


def test_a_request_that_the_service_refuses_ends_with_2(served: Run) -> None:
    done = served("submit", CONTENT, STYLE, "--backbone=vgg19", "--style-layers=conv9_9=1")
    assert done.returncode == 2
    assert "\n  /spec/backbone: " in done.stderr
    assert "\n  /spec/style_layers: " in done.stderr
    assert "impasto weights fetch vgg19" in done.stderr


def test_a_job_that_is_canceled_ends_the_wait_with_1(served: Run, impasto: Impasto) -> None:
    job = impasto.submit(CONTENT, [STYLE], id="mine")
    assert served("cancel", job.id).returncode == 0
    done = served("submit", CONTENT, STYLE, "--id=mine", "--wait")
    assert (done.returncode, done.stdout) == (1, "")
    assert "job mine canceled" in done.stderr

"""`impasto doctor` as a process: its exit codes, and what it says where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from shared.jobs.keys import Key
from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.settings import Settings
from tests.support.busy import Studio
from tests.support.jobs import claim_paint

ROOT = Path(__file__).parents[3]
COMMAND = "import sys; from client.cli import main; main(sys.argv[1:])"


def doctor(*options: str, code: str = COMMAND, **settings: object) -> subprocess.CompletedProcess[str]:
    given = {f"IMPASTO_{name.upper()}": str(value) for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-c", code, "doctor", *options],
        env={**os.environ, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def studio(redis_client: redis.Redis, valkey: str, tmp_path: Path) -> Studio:
    config = Settings(redis_url=valkey, data_dir=tmp_path)
    return Studio(JobStore(redis_client, config), open_objects(config))


def test_a_healthy_service_ends_with_0_and_prints_nothing(
    studio: Studio, valkey: str, tmp_path: Path
) -> None:
    studio.submit()
    studio.finish(claim_paint(studio.store))
    done = doctor("--deep", redis_url=valkey, data_dir=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "nothing is wrong\n")


def test_what_is_wrong_is_told_with_its_remedy_and_ends_with_1(
    studio: Studio, redis_client: redis.Redis, valkey: str, tmp_path: Path
) -> None:
    job = studio.submit()
    studio.objects.delete(studio.finish(claim_paint(studio.store)))
    later = studio.submit()
    redis_client.hset(Key.JOB + later.uid, "schema", 99)
    redis_client.rpush("paint", "a bell")
    shown = doctor(redis_url=valkey, data_dir=tmp_path)
    assert shown.returncode == 1
    assert shown.stderr == "1 found; 1 to know of\n"
    assert f"output_missing: {job.uid}: " in shown.stdout
    told = doctor("--json", redis_url=valkey, data_dir=tmp_path)
    assert told.returncode == 1
    findings = [json.loads(line) for line in told.stdout.splitlines()]
    assert {(one["code"], one["subject"], one["fault"]) for one in findings} == {
        ("output_missing", job.uid, True),
        ("record_later", later.uid, False),
    }
    assert all(one["detail"] and one["remedy"] for one in findings)


def test_a_store_that_is_away_ends_with_3(tmp_path: Path) -> None:
    done = doctor(redis_url="redis://127.0.0.1:1/0", data_dir=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "Redis does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_that_are_kept_elsewhere_end_with_3(studio: Studio, valkey: str, tmp_path: Path) -> None:
    studio.submit()
    done = doctor(redis_url=valkey, data_dir=tmp_path / "another")
    assert (done.returncode, done.stdout) == (3, "")
    assert "IMPASTO_DATA_DIR" in done.stderr


def test_a_setting_that_is_wrong_ends_with_2(valkey: str) -> None:
    for setting in ({"reap_seconds": "soon"}, {"no_such_setting": "1"}):
        done = doctor(redis_url=valkey, **setting)
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_without_the_service_installed_it_says_what_to_install() -> None:
    hidden = "import sys; sys.modules['redis'] = None\n" + COMMAND
    done = doctor(code=hidden)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'impasto[client,service]'" in done.stderr
    assert "Traceback" not in done.stderr

"""The examples of docs/examples do what they say, against the whole service."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from werkzeug.serving import make_server

from client import Impasto
from deploy.local import House
from deploy.ports import free_port
from tests.integration.service.support import SECONDS, facts, picture
from tests.support.generators import python_generator, typescript_generator
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    files = tmp_path / "bridge.png", tmp_path / "starry.png"
    files[0].write_bytes(picture(96, 64, 3))
    files[1].write_bytes(picture(64, 64, 90))
    return files


@pytest.fixture
def run(house: House, tmp_path: Path) -> Run:
    def program(*command: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
        given = {name: value for name, value in os.environ.items() if not name.startswith("IMPASTO_")}
        return subprocess.run(
            command,
            env={**given, "IMPASTO_URL": house.url, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )

    return program


def test_curl_alone_takes_a_job_from_upload_to_picture(
    run: Run, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    spec = '{"size": 48, "steps": 4, "pyramid": 1}'
    done = run("sh", EXAMPLES / "curl.sh", *pictures, "painting.png", IMPASTO_SPEC=spec)
    assert (done.returncode, done.stdout) == (0, "painting.png\n"), done.stderr
    assert facts((tmp_path / "painting.png").read_bytes()) == ("PNG", (48, 32))


def test_curl_says_what_the_service_says_when_a_job_fails(run: Run, pictures: tuple[Path, Path]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on this machine")
    done = run("sh", EXAMPLES / "curl.sh", *pictures, "painting.png", IMPASTO_SPEC='{"size": 1}')
    assert done.returncode != 0
    assert "/spec/size" in done.stdout + done.stderr


def test_the_cron_job_paints_what_is_new_once(
    run: Run, pictures: tuple[Path, Path], tmp_path: Path, impasto: Impasto
) -> None:
    photos, paintings = tmp_path / "photos", tmp_path / "paintings"
    photos.mkdir()
    paintings.mkdir()
    for number in range(2):
        (photos / f"{number}.jpg").write_bytes(picture(hue=number * 70))
    small = (EXAMPLES / "nightly.py").read_text().replace('"size": 512', '"size": 32, "steps": 3')
    one_night = small.replace("datetime.now(UTC)", "datetime(2026, 2, 3, tzinfo=UTC)")
    assert one_night != small
    script = tmp_path / "nightly.py"
    script.write_text(one_night)
    night = (sys.executable, script, photos, pictures[1], paintings)
    done = run(*night, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in paintings.iterdir()) == ["0.png", "1.png"]
    made = {job.id for job in impasto.jobs() if job.id.startswith("nightly-")}
    assert len(made) == 2
    # One painting is lost: its job is met again under its ID, the picture fetched anew.
    (paintings / "1.png").unlink()
    (photos / "2.jpg").write_bytes(b"no picture")
    done = run(*night, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert "picture_unreadable" in done.stderr
    assert sorted(path.name for path in paintings.iterdir()) == ["0.png", "1.png"]
    assert {job.id for job in impasto.jobs() if job.id.startswith("nightly-")} == made


@pytest.fixture
def webapp(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The application's address; it is served as it stands, but for the size of its paintings."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("IMPASTO_URL", house.url)
    monkeypatch.setenv("HOOK_URL", f"{url}/hook")
    small = (EXAMPLES / "webapp.py").read_text().replace('"size": 256', '"size": 32, "steps": 3')
    (tmp_path / "webapp.py").write_text(small)
    spec = importlib.util.spec_from_file_location("webapp", tmp_path / "webapp.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = make_server("127.0.0.1", port, module.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()
    module.impasto.close()


def test_the_web_application_shows_the_painting_that_a_webhook_told_of(
    webapp: str, pictures: tuple[Path, Path]
) -> None:
    with httpx.Client(base_url=webapp, timeout=SECONDS) as browser:
        assert 'name="picture"' in browser.get("/").text
        files = {"picture": pictures[0].read_bytes(), "style": pictures[1].read_bytes()}
        sent = browser.post("/", files=files)
        assert sent.status_code == 303, sent.text
        page = sent.headers["Location"]
        forged = browser.post(
            "/hook", json={"type": "job.succeeded", "data": {"id": page.rpartition("/")[2]}}
        )
        assert forged.status_code == 400

        def painting() -> str | None:
            found = re.search(r'<img src="([^"]+)"', browser.get(page).text)
            return found and found[1]

        url = wait_for(painting, "the webhook", SECONDS)
        assert facts(httpx.get(url, follow_redirects=True, timeout=60).content)[0] == "PNG"


@pytest.mark.registry
@pytest.mark.timeout(600)
def test_a_client_generated_in_python_does_a_job(
    run: Run, house: House, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    tools = python_generator()
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{house.url}/openapi.json", timeout=60).content)
    config = EXAMPLES / "openapi-python-client.yml"
    options = ("--meta", "none", "--config", config, "--output-path", tmp_path / "impasto_generated")
    made = run(tools / "bin" / "openapi-python-client", "generate", "--path", document, *options)
    assert made.returncode == 0, made.stdout + made.stderr
    stumbles = re.findall(r"WARNING parsing (\w+ \S+)", made.stdout + made.stderr)
    assert set(stumbles) <= {"POST /v1/uploads"}
    python = tools / "bin" / "python"
    done = run(python, EXAMPLES / "generated.py", *pictures, "painting.png", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "painting.png\n"), done.stderr
    assert facts((tmp_path / "painting.png").read_bytes()) == ("PNG", (64, 43))


@pytest.mark.registry
@pytest.mark.timeout(600)
def test_a_client_generated_in_typescript_does_a_job(
    run: Run, house: House, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    tools = typescript_generator()
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{house.url}/openapi.json", timeout=60).content)
    (tmp_path / "node_modules").symlink_to(tools / "node_modules")
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    shutil.copy(EXAMPLES / "generated.ts", tmp_path)
    programs = tools / "node_modules" / ".bin"
    optional = "--default-non-nullable=false"
    made = run(programs / "openapi-typescript", document, optional, "-o", "impasto.d.ts")
    assert made.returncode == 0, made.stdout + made.stderr
    strict = ("--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck")
    compiled = run(programs / "tsc", *strict, "--noUncheckedIndexedAccess", "false", "generated.ts")
    assert compiled.returncode == 0, compiled.stdout
    done = run("node", "generated.js", *pictures, "painting.png")
    assert (done.returncode, done.stdout) == (0, "painting.png\n"), done.stderr
    assert facts((tmp_path / "painting.png").read_bytes()) == ("PNG", (64, 43))

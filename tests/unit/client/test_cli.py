"""The command: what it prints, where, and how it ends."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from client.cli import main
from client.console import print_json
from tests.support.web import Answer, Web, in_turn, status
from tests.unit.client.conftest import Inbox, answer_json, job, problem

URL = "https://example.org/a.jpg"
PICTURE = b"a picture"


def done(web: Web) -> dict[str, Any]:
    output = {
        "url": web.url + "/v1/jobs/job_1/output",
        "width": 64,
        "height": 48,
        "bytes": len(PICTURE),
        "sha256": hashlib.sha256(PICTURE).hexdigest(),
        "content_type": "image/png",
    }
    return job(status="succeeded", stage=None, queue=None, output=output)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def served(web: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("IMPASTO_URL", web.url)
    monkeypatch.delenv("IMPASTO_TOKEN", raising=False)
    return web


def impasto(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_the_help_lists_every_command() -> None:
    text = impasto("--help").output
    for name in ("submit", "status", "list", "cancel", "get", "stylize", "backbones", "weights"):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("name", list(main.commands))
def test_every_command_says_what_it_does(name: str) -> None:
    result = impasto(name, "--help")
    assert result.exit_code == 0
    assert main.commands[name].help


def test_submit_sends_the_options_and_prints_the_id(served: Web) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    result = impasto(
        "submit",
        URL,
        "upload:up_1",
        URL,
        "--mix=1,0.5",
        "--size=256",
        "--metadata=order=A=17",
        "--priority=9",
    )
    assert (result.exit_code, result.stdout) == (0, "job_1\n")
    assert inbox.json == {
        "content": URL,
        "styles": [{"image": "upload:up_1", "weight": 1.0}, {"image": URL, "weight": 0.5}],
        "spec": {"size": 256},
        "metadata": {"order": "A=17"},
        "priority": 9,
    }


def test_submit_sends_masks_and_regions_with_their_styles_and_the_start(served: Web) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    beside = ("--mask=-", "--mask", URL, "--region=upload:up_2", "--region=", "--init=upload:up_3")
    result = impasto("submit", URL, "upload:up_1", URL, *beside)
    assert (result.exit_code, result.stdout) == (0, "job_1\n")
    assert inbox.json == {
        "content": URL,
        "styles": [
            {"image": "upload:up_1", "weight": 1.0, "region": "upload:up_2"},
            {"image": URL, "weight": 1.0, "mask": URL},
        ],
        "init": "upload:up_3",
        "spec": {"init": "picture"},
    }


def test_submit_starts_from_what_the_spec_names_without_a_picture(served: Web) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    impasto("submit", URL, URL, "--init=noise")
    assert inbox.json == {"content": URL, "styles": [URL], "spec": {"init": "noise"}}


def test_submit_leaves_out_what_was_not_given(served: Web) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    impasto("submit", URL, URL)
    assert inbox.json == {"content": URL, "styles": [URL]}


def test_submit_and_wait_downloads_the_picture(served: Web, here: Path) -> None:
    served.route("/v1/jobs", answer_json(job(), 202))
    served.route("/v1/jobs/job_1", in_turn(answer_json(job(), Retry_After="0"), answer_json(done(served))))
    served.file("/v1/jobs/job_1/output", PICTURE)
    result = impasto("submit", URL, URL, "--wait")
    assert (result.exit_code, result.stdout) == (0, "job_1.png\n")
    assert (here / "job_1.png").read_bytes() == PICTURE
    assert "number 3 in the queue" in result.stderr


def test_an_output_file_means_waiting(served: Web, here: Path) -> None:
    served.route("/v1/jobs", answer_json(job(), 202))
    served.route("/v1/jobs/job_1", answer_json(done(served)))
    served.file("/v1/jobs/job_1/output", PICTURE)
    result = impasto("submit", URL, URL, "-o", "painted.png", "--json")
    assert json.loads(result.stdout)["status"] == "succeeded"
    assert (here / "painted.png").read_bytes() == PICTURE


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("a.jpg", "jpeg"),
        ("a.JPEG", "jpeg"),
        ("a.webp", "webp"),
        ("a.png", None),
        ("a", None),
        ("a.gif", None),
    ],
)
@pytest.mark.usefixtures("here")
def test_submit_asks_for_the_format_that_its_file_is_called_after(
    served: Web, name: str, asked: str | None
) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    served.route("/v1/jobs/job_1", answer_json(job(status="canceled", stage=None)))
    impasto("submit", URL, URL, "-o", name)
    assert inbox.json.get("spec") == (asked and {"output_format": asked})


@pytest.mark.usefixtures("here")
def test_a_format_of_the_callers_own_goes_with_any_other_name(served: Web) -> None:
    inbox = Inbox(job(), 202)
    served.route("/v1/jobs", inbox)
    served.route("/v1/jobs/job_1", answer_json(job(status="canceled", stage=None)))
    for name in ("a.jpg", "a"):
        impasto("submit", URL, URL, "-o", name, "--output-format=jpeg")
        assert inbox.json["spec"] == {"output_format": "jpeg"}


@pytest.mark.usefixtures("here")
def test_a_format_that_contradicts_the_name_of_the_file_is_refused(served: Web) -> None:
    result = impasto("submit", URL, URL, "-o", "a.jpg", "--output-format=png")
    assert result.exit_code == 2
    assert "--output-format asks for png, and a.jpg is called like a file of the format jpeg" in result.stderr
    assert served.seen == []


def test_a_picture_of_another_format_than_its_name_says_is_told(served: Web, here: Path) -> None:
    served.route("/v1/jobs/job_1", answer_json(done(served)))
    served.file("/v1/jobs/job_1/output", PICTURE)
    assert "a.webp holds a picture of the format png" in impasto("get", "job_1", "-o", "a.webp").stderr
    assert (here / "a.webp").read_bytes() == PICTURE
    assert impasto("get", "job_1", "-o", "a.PNG").stderr == ""


@pytest.mark.parametrize("command", [("submit", URL, URL), ("get", "job_1")], ids=["submit", "get"])
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none/a.png", "there is no folder none: make it first, or name another"),
        ("file/a.png", "there is no folder file"),
        ("folder", "'folder' is a folder: name a file in it, such as folder/painting.png"),
        ("none/", "'none/' is a folder"),
        ("/proc/a.png", "the folder /proc takes no file a.png ("),
        ("a" * 250 + ".png", "(File name too long)"),
        ("a" * 400 + ".png", "(File name too long)"),
        ("a" * 300 + "/a.png", "there is no folder aaa"),
    ],
    ids=[
        "missing",
        "below a file",
        "folder",
        "slash",
        "not writable",
        "too long on its way",
        "too long",
        "folder too long",
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_sent(
    served: Web, here: Path, command: tuple[str, ...], name: str, says: str
) -> None:
    touched = {here / "file", here / "folder"}
    (here / "file").write_bytes(b"")
    (here / "folder").mkdir()
    result = impasto(*command, "-o", name)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "Invalid value for '-o' / '--output': " in said
    assert says in said
    assert served.seen == []
    assert set(here.iterdir()) == touched


def test_a_failed_job_ends_with_1_and_its_reason(served: Web) -> None:
    error = {"code": "fetch_failed", "title": "Not fetched", "detail": "answered 404", "pointer": "/styles/0"}
    served.route("/v1/jobs", answer_json(job(), 202))
    served.route("/v1/jobs/job_1", answer_json(job(status="failed", stage=None, error=error)))
    result = impasto("submit", URL, URL, "--wait", "--json")
    assert result.exit_code == 1
    assert "/styles/0: Not fetched (fetch_failed)\n  answered 404" in result.stderr
    assert json.loads(result.stdout)["error"] == error


def test_a_refused_request_ends_with_2_and_a_line_for_each_fault(served: Web) -> None:
    errors = [{"pointer": "/spec/size", "detail": "Too small."}, {"pointer": "/styles", "detail": "Missing."}]
    served.route("/v1/jobs", problem(422, "invalid_request", errors=errors, request_id="req_7"))
    result = impasto("submit", URL, URL)
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "impasto: Title of invalid_request (invalid_request)",
        "  /spec/size: Too small.",
        "  /styles: Missing.",
        "  request req_7",
    ]


@pytest.mark.parametrize("answer", [status(500), status(503, Retry_After="0")], ids=["500", "503"])
def test_a_failing_service_ends_with_3(served: Web, answer: Answer) -> None:
    served.route("/v1/jobs/job_1", answer)
    assert impasto("status", "job_1").exit_code == 3


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", URL),
        ("submit", URL, URL, "--mix=1,2"),
        ("submit", URL, URL, "--size=1"),
        ("submit", URL, URL, "--mask", URL, "--mask", URL),
        ("submit", URL, URL, URL, "--region", URL),
        ("submit", URL, URL, "--mask=no-such-mask.png"),
        ("submit", URL, URL, "--init=nosie"),
        ("submit", URL, URL, "--init=picture"),
        ("submit", URL, URL, "--metadata=order"),
        ("submit", "no-such-file.jpg", URL),
        ("submit", "ftp://example.org/a.jpg", URL),
        ("status", "job_1", "--url=ftp://example.org"),
        ("list", "--status=odd"),
        ("batch", ".", "-o", "out"),
        ("batch", "no-such-folder", "-o", "out", "--style", URL),
        ("batch", ".", "-o", "out", "--style", URL, "--size=1"),
        ("batch", ".", "-o", "out", "--style", URL, "--mix=1,2"),
        ("batch", ".", "-o", "out", "--style", URL, "--part=0"),
        ("paint",),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_sends_nothing(served: Web, arguments: tuple[str, ...]) -> None:
    result = impasto(*arguments)
    assert result.exit_code == 2
    assert result.stderr
    assert served.seen == []


@pytest.mark.parametrize("token", ["\u00e9", "token\n", "to\nken"])
def test_a_token_that_cannot_be_sent_ends_with_2_and_names_where_it_is_from(
    served: Web, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("IMPASTO_TOKEN", token)
    result = impasto("list")
    assert result.exit_code == 2
    assert "--token or IMPASTO_TOKEN: the token " in result.stderr
    assert served.seen == []


def test_an_address_that_nobody_fetches_is_named_as_it_was_written(served: Web) -> None:
    result = impasto("submit", URL, "ftp://example.org/a.jpg")
    assert result.stderr == (
        "impasto: ftp://example.org/a.jpg: a picture is an http or https address, a file, or upload:ID\n"
    )
    assert served.seen == []


@pytest.mark.parametrize(
    ("folder", "out"),
    [(".", "."), ("q", "./q/"), ("q", "q/../q"), ("q", "link"), ("link", "q")],
    ids=["here", "dot", "up and down", "link", "other link"],
)
def test_paintings_do_not_go_where_their_pictures_are(served: Web, here: Path, folder: str, out: str) -> None:
    (here / "q").mkdir()
    (here / "link").symlink_to("q")
    (here / "q" / "a.png").write_bytes(PICTURE)
    result = impasto("batch", folder, "--style", URL, "-o", out)
    assert result.exit_code == 2
    said = " ".join(result.stderr.split())
    assert "'-o' / '--out'" in said
    assert "is FOLDER itself, where paintings would take the place of pictures: name another" in said
    assert served.seen == []
    assert [path.name for path in (here / "q").iterdir()] == ["a.png"]


def test_status_shows_a_job_for_people_and_for_programs(served: Web) -> None:
    progress = {"step": 3, "steps": 9, "level": 0, "levels": 2, "loss": {}}
    served.route("/v1/jobs/job_1", answer_json(job(progress=progress)))
    text = impasto("status", "job_1").stdout
    assert text.startswith("job_1  queued\n")
    for fact in ("number 3", "3 of 9", "order=A-17", "2026-01-31"):
        assert fact in text
    assert json.loads(impasto("status", "job_1", "--json").stdout)["progress"] == progress


def test_list_shows_a_job_a_line_up_to_the_limit(served: Web) -> None:
    page = {"jobs": [job(id=f"job_{n}") for n in range(3)], "next_page_token": "more"}
    served.route("/v1/jobs", answer_json(page))
    assert [line.split()[0] for line in impasto("list", "--limit=5").stdout.splitlines()] == [
        *("job_0", "job_1", "job_2"),
        *("job_0", "job_1"),
    ]
    lines = impasto("list", "--limit=2", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["job_0", "job_1"]


def test_cancel_shows_the_job_as_it_is_then(served: Web) -> None:
    served.route("/v1/jobs/job_1/cancel", answer_json(job(status="canceled", stage=None)))
    assert impasto("cancel", "job_1").stdout.startswith("job_1  canceled")


def test_get_writes_the_picture_and_prints_where(served: Web, here: Path) -> None:
    served.route("/v1/jobs/job_1", answer_json(done(served)))
    served.file("/v1/jobs/job_1/output", PICTURE)
    assert impasto("get", "job_1", "-o", "a.png").stdout == "a.png\n"
    assert (here / "a.png").read_bytes() == PICTURE


def test_get_of_a_job_without_a_picture_ends_with_1(served: Web, here: Path) -> None:
    served.route("/v1/jobs/job_1", answer_json(job()))
    result = impasto("get", "job_1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "still queued" in result.stderr
    assert list(here.iterdir()) == []


def test_backbones_are_listed_with_their_availability(served: Web) -> None:
    one = {"name": "vgg19", "description": "The paper's network.", "available": False, "layers": []}
    two = {"name": "squeezenet1_1", "description": "Small.", "available": True, "layers": []}
    served.route("/v1/backbones", answer_json({"backbones": [one, two]}))
    assert impasto("backbones").stdout == (
        "vgg19         no worker  The paper's network.\nsqueezenet1_1 available  Small.\n"
    )


@pytest.mark.parametrize(
    ("said", "encoding", "line"),
    [
        ("é", "utf-8", '{"name": "é"}\n'),
        ("é", "ascii", '{"name": "\\u00e9"}\n'),
        ("\udcff", "utf-8", '{"name": "\\udcff"}\n'),
    ],
)
def test_json_is_written_whatever_it_holds_and_wherever_it_goes(
    monkeypatch: pytest.MonkeyPatch, said: str, encoding: str, line: str
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    monkeypatch.setattr(sys, "stdout", output)
    print_json({"name": said})
    output.seek(0)
    assert output.read() == line


def test_the_program_itself_ends_with_3_and_no_traceback_where_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-c", "from client.cli import main; main()", "status", "job_1"]
        done = subprocess.run(
            command,
            env={**os.environ, "IMPASTO_URL": address},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith(f"impasto: {address}/ does not answer")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""

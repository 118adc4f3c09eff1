"""Pictures of one's own are handed in once, by what they are."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from client import ApiError, Impasto, Request, Style
from client.folder import Walk
from client.folder_report import Progress
from client.folder_run import Asked, FolderRun
from client.folder_ways import ByBatches
from tests.support.web import Exchange, Web, in_turn
from tests.unit.client.conftest import QUICK, answer_json, job, problem

URL = "https://example.org/a.jpg"


class Uploads:
    """Keeps what is uploaded; each upload is named by its number."""

    def __init__(self, web: Web, *, lives: timedelta = timedelta(days=7), crowd: int = 1) -> None:
        self.bodies: list[bytes] = []
        self.lives = lives
        self.lock, self.crowd = threading.Lock(), threading.Barrier(crowd)
        web.route("/v1/uploads", self)

    def __call__(self, exchange: Exchange) -> None:
        body = exchange.rfile.read(int(exchange.headers["Content-Length"]))
        exchange.headers.replace_header("Content-Length", "0")
        with self.lock:
            self.bodies.append(body)
            number = len(self.bodies)
        self.crowd.wait(20)
        until = (datetime.now(UTC) + self.lives).isoformat()
        data = {"id": f"up_{number}", "image": f"upload:up_{number}", "expires_at": until}
        answer_json(data, 201)(exchange)


def test_the_same_bytes_are_uploaded_once_whatever_their_files_are_called(
    web: Web, impasto: Impasto, tmp_path: Path
) -> None:
    uploads = Uploads(web)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"a picture")
    refs = {impasto.upload(one).ref for one in (tmp_path / "a.jpg", tmp_path / "b.jpg", b"a picture")}
    assert refs == {"upload:up_1"}
    assert impasto.upload(b"another").ref == "upload:up_2"
    assert len(uploads.bodies) == 2


def test_a_file_may_have_a_name_that_is_no_text(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    uploads = Uploads(web)
    (tmp_path / "\udcff.jpg").write_bytes(b"a picture")
    assert impasto.upload(tmp_path / "\udcff.jpg").ref == "upload:up_1"
    assert b'filename="?.jpg"' in uploads.bodies[0]


def test_a_file_that_has_changed_is_another_picture(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    Uploads(web)
    file = tmp_path / "a.jpg"
    file.write_bytes(b"before")
    first = impasto.upload(file)
    file.write_bytes(b"after!")
    assert impasto.upload(file) != first


def test_a_style_of_many_jobs_that_are_handed_in_at_once_is_uploaded_once(web: Web, impasto: Impasto) -> None:
    uploads = Uploads(web)
    web.otherwise(lambda exchange: answer_json(job(id=exchange.path.rpartition("/")[2]), 202)(exchange))
    requests = [Request(f"content {n}".encode(), [b"the style"], id=f"j{n}") for n in range(12)]
    assert all(outcome.job for outcome in impasto.submit_many(requests, in_flight=6))
    assert sum(b"the style" in body for body in uploads.bodies) == 1
    assert len(uploads.bodies) == 13


def test_the_pictures_of_a_job_are_uploaded_side_by_side(web: Web, impasto: Impasto) -> None:
    """None of the uploads is answered before all three have come."""
    Uploads(web, crowd=3)
    web.route("/v1/jobs", answer_json(job(), 202))
    impasto.submit(b"content", [b"style"], init=b"sketch", spec={"init": "picture"})


def test_an_upload_that_is_about_to_expire_is_made_anew(web: Web, impasto: Impasto) -> None:
    uploads = Uploads(web, lives=timedelta(minutes=1))
    assert impasto.upload(b"a picture").id != impasto.upload(b"a picture").id
    uploads.lives = timedelta(days=1)
    assert impasto.upload(b"a picture").id == impasto.upload(b"a picture").id


def test_an_upload_that_the_service_has_deleted_is_made_anew_and_the_job_accepted(
    web: Web, impasto: Impasto
) -> None:
    uploads = Uploads(web)
    impasto.upload(b"a picture")
    gone = problem(422, "upload_not_found", errors=[{"pointer": "/content", "detail": "gone"}])
    web.route("/v1/jobs", in_turn(gone, answer_json(job(), 202)))
    assert impasto.submit(b"a picture", [URL]).id == "job_1"
    assert len(uploads.bodies) == 2
    keys = [seen.headers["Idempotency-Key"] for seen in web.seen if seen.path == "/v1/jobs"]
    assert keys[0] == keys[1]


def test_a_folder_whose_uploads_are_gone_at_once_is_refused_after_a_second_try(
    web: Web, tmp_path: Path
) -> None:
    Uploads(web)
    web.route("/v1/batches", problem(422, "upload_not_found", errors=[{"pointer": "/content", "line": 2}]))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a picture")
    walk, asked = Walk(tmp_path / "in"), Asked([Style("https://example.org/style.jpg")])
    progress = Progress()
    with (
        Impasto(web.url, retries=QUICK) as impasto,
        FolderRun(impasto, walk, tmp_path / "out", asked, progress) as run,
    ):
        ByBatches(impasto, run, progress).paint(run.begin())
        [fate] = run.finish()
    assert fate.status == "refused"
    assert fate.error
    assert fate.error.code == "upload_not_found"
    assert len([seen for seen in web.seen if seen.path == "/v1/batches"]) == 2


def test_a_failed_upload_is_tried_again_by_the_next_who_wants_it(web: Web, impasto: Impasto) -> None:
    refused = problem(422, "picture_unreadable")
    accepted = answer_json({"id": "up_1", "image": "upload:up_1"}, 201)
    web.route("/v1/uploads", in_turn(refused, accepted))
    with pytest.raises(ApiError, match="picture_unreadable"):
        impasto.upload(b"a picture")
    assert impasto.upload(b"a picture").ref == "upload:up_1"

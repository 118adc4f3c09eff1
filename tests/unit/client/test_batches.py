"""Batches: what is sent, how it is cut, and how answers that stream are read."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from client import ApiError, BatchFailed, BatchTimeoutError, DamagedError, Impasto, Request, UnreachableError
from client.batches import MOST_ITEMS
from client.errors import FieldError
from client.models import Counts, JobError
from tests.support.web import Answer, Exchange, Web, content, in_turn, status
from tests.unit.client.conftest import QUICK, Inbox, answer_json, batch, job, problem, stream

URL = "https://example.org/a.jpg"


def lines_of(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def items(count: int) -> Iterator[Request]:
    return (Request(URL, custom_id=f"c{number}") for number in range(count))


def test_items_are_lines_after_one_with_what_they_share(web: Web, impasto: Impasto) -> None:
    inbox = Inbox(batch(), 202)
    web.route("/v1/batches", inbox)
    defaults = Request("", [URL], spec={"size": 64}, webhook="https://example.org/hook", priority=2)
    made = impasto.batches.create(items(2), defaults=defaults, metadata={"night": "1"}, webhook={"url": URL})
    assert lines_of(inbox.bodies[0]) == [
        {
            "defaults": {
                "styles": [URL],
                "spec": {"size": 64},
                "priority": 2,
                "webhook": {"url": "https://example.org/hook"},
            },
            "metadata": {"night": "1"},
            "webhook": {"url": URL},
        },
        {"content": URL, "custom_id": "c0"},
        {"content": URL, "custom_id": "c1"},
    ]
    assert web.seen[0].headers["Content-Type"] == "application/x-ndjson"
    assert web.seen[0].headers["Idempotency-Key"]
    assert (made.id, made.status, made.eta_seconds) == ("batch_1", "processing", 12.5)
    assert made.counts == Counts(total=3, queued=1, processing=1, succeeded=1)
    assert (made.counts.ended, made.counts.open) == (1, 2)


def test_an_items_own_fields_stand_on_its_line_and_its_files_are_uploaded_once(
    web: Web, impasto: Impasto, tmp_path: Path
) -> None:
    uploads, batches = Inbox({"id": "up_1", "image": "upload:up_1"}, 201), Inbox(batch(), 202)
    web.route("/v1/uploads", uploads)
    web.route("/v1/batches", batches)
    file = tmp_path / "a.jpg"
    file.write_bytes(b"the same bytes")
    impasto.batches.create(
        [Request(file, [URL], custom_id="x", fresh=True), Request(b"the same bytes", [(URL, 2.0)])]
    )
    assert lines_of(batches.bodies[0]) == [
        {"content": "upload:up_1", "styles": [URL], "custom_id": "x", "fresh": True},
        {"content": "upload:up_1", "styles": [{"image": URL, "weight": 2.0}]},
    ]
    assert len(uploads.bodies) == 1


def test_a_repeated_request_is_the_same_to_the_byte_and_has_the_same_key(web: Web, impasto: Impasto) -> None:
    bodies: list[tuple[str, bytes]] = []

    def keep(answer: Answer) -> Answer:
        def kept(exchange: Exchange) -> None:
            body = exchange.rfile.read(int(exchange.headers["Content-Length"]))
            bodies.append((exchange.headers["Idempotency-Key"], body))
            exchange.headers.replace_header("Content-Length", "0")
            answer(exchange)

        return kept

    web.route("/v1/batches", in_turn(keep(status(503)), keep(answer_json(batch(), 202))))
    impasto.batches.create(items(3))
    impasto.batches.create(items(3), background=True)
    assert bodies[0] == bodies[1]
    assert bodies[2][0] != bodies[1][0]
    assert bodies[2][1] == bodies[1][1]
    assert web.seen[2].headers["Prefer"] == "respond-async"


def test_a_background_batch_that_meets_a_service_away_is_sent_again_from_its_beginning(
    web: Web, impasto: Impasto
) -> None:
    inbox = Inbox(batch(status="validating"), 202)
    web.route("/v1/batches", in_turn(status(503), inbox))
    assert impasto.batches.create(items(500), background=True).status == "validating"
    assert len(lines_of(inbox.bodies[0])) == 500


def test_more_items_than_a_request_takes_are_refused_with_the_remedy(web: Web, impasto: Impasto) -> None:
    with pytest.raises(ValueError, match="create_many"):
        impasto.batches.create(items(MOST_ITEMS + 1))
    assert web.seen == []


def test_any_number_of_items_is_cut_into_batches_which_are_read_and_sent_as_they_are_asked_for(
    web: Web, impasto: Impasto
) -> None:
    inbox = Inbox(batch(), 202)
    web.route("/v1/batches", inbox)
    read = 0

    def counted() -> Iterator[Request]:
        nonlocal read
        for item in items(25):
            read += 1
            yield item

    made = impasto.batches.create_many(counted(), size=10, idempotency_key="night")
    next(made)
    assert (read, len(inbox.bodies)) == (10, 1)
    assert len(list(made)) == 2
    assert [len(lines_of(body)) for body in inbox.bodies] == [10, 10, 5]
    assert [seen.headers["Idempotency-Key"] for seen in web.seen] == ["night-0", "night-1", "night-2"]


@pytest.mark.parametrize("count", [0, 20])
def test_batches_end_with_the_items(web: Web, impasto: Impasto, count: int) -> None:
    web.route("/v1/batches", answer_json(batch(), 202))
    assert len(list(impasto.batches.create_many(items(count), size=10))) == count // 10


def test_faults_come_with_their_lines(web: Web, impasto: Impasto) -> None:
    errors = [{"line": 3, "pointer": "/content", "detail": "no picture"}]
    web.route("/v1/batches", problem(422, "invalid_request", errors=errors))
    with pytest.raises(ApiError) as caught:
        impasto.batches.create(items(3))
    assert caught.value.errors == (FieldError("/content", "no picture", 3),)


@pytest.mark.parametrize(
    "wrong", [Request(URL, id="mine"), Request(URL, idempotency_key="k")], ids=["id", "key"]
)
def test_an_item_with_an_id_or_key_of_its_own_is_refused(impasto: Impasto, wrong: Request) -> None:
    with pytest.raises(ValueError, match="custom_id"):
        impasto.batches.create([wrong])


def test_what_items_share_is_no_content(impasto: Impasto) -> None:
    with pytest.raises(ValueError, match="no content"):
        impasto.batches.create(items(1), defaults=Request(URL, [URL]))


def test_items_and_batches_come_page_by_page(web: Web, impasto: Impasto) -> None:
    first = {"items": [job(id="a", custom_id="x", batch="batch_1")], "next_page_token": "t"}
    second = {"items": [job(id="b")], "next_page_token": None}
    web.route("/v1/batches/batch_1/items", in_turn(answer_json(first), answer_json(second)))
    found = list(impasto.batches.items("batch_1", status="failed"))
    assert [(one.id, one.custom_id, one.batch) for one in found] == [
        ("a", "x", "batch_1"),
        ("b", None, None),
    ]
    assert "status=failed" in web.seen[1].path
    web.route("/v1/batches", answer_json({"batches": [batch()], "next_page_token": None}))
    assert [one.id for one in impasto.batches.list()] == ["batch_1"]


def result(index: int, **changes: Any) -> bytes:
    line = {"index": index, "custom_id": f"c{index}", "id": f"job_{index}", "status": "succeeded"}
    return json.dumps({**line, "output": None, "error": None, **changes}).encode() + b"\n"


def test_results_are_told_as_they_arrive_however_they_are_cut(web: Web, impasto: Impasto) -> None:
    data = result(0) + result(1, status=None, id=None) + result(2).rstrip()
    pieces = [data[start : start + 7] for start in range(0, len(data), 7)]
    web.route("/v1/batches/batch_1/results.ndjson", stream(*pieces, content_type="application/x-ndjson"))
    found = list(impasto.batches.results("batch_1"))
    assert [(one.index, one.custom_id, one.job, one.status) for one in found] == [
        (0, "c0", "job_0", "succeeded"),
        (1, "c1", None, None),
        (2, "c2", "job_2", "succeeded"),
    ]


def test_results_that_break_off_are_gone_on_with_and_none_is_told_twice(web: Web, impasto: Impasto) -> None:
    data = b"".join(result(index) for index in range(5))

    def cut(exchange: Exchange) -> None:
        exchange.reply(200, data[: len(data) // 2], Content_Length=str(len(data)))
        exchange.close_connection = True

    whole = content(data, "application/x-ndjson")
    web.route("/v1/batches/batch_1/results.ndjson", in_turn(cut, status(503), whole))
    assert [one.index for one in impasto.batches.results("batch_1")] == [0, 1, 2, 3, 4]
    web.route("/v1/batches/batch_1/results.ndjson", cut)
    with pytest.raises(UnreachableError, match="breaks off"):
        list(impasto.batches.results("batch_1"))


def test_every_fault_of_a_background_batch_can_be_read(web: Web, impasto: Impasto) -> None:
    faults = (
        b'{"line": 2, "pointer": "/content", "detail": "no"}\n{"line": 9, "pointer": "", "detail": "x"}\n'
    )
    web.file("/v1/batches/batch_1/errors.ndjson", faults, "application/x-ndjson")
    assert list(impasto.batches.errors("batch_1")) == [
        FieldError("/content", "no", 2),
        FieldError("", "x", 9),
    ]


def test_waiting_for_a_batch_tells_its_progress(web: Web, impasto: Impasto) -> None:
    running, done = answer_json(batch(), ETag='"1"', Retry_After="0"), answer_json(batch(status="completed"))
    web.route("/v1/batches/batch_1", in_turn(running, status(304, Retry_After="0"), status(503), done))
    told: list[str] = []
    impasto.batches.wait("batch_1", on_progress=lambda batch: told.append(batch.status))
    assert told == ["processing", "completed"]


def test_waiting_for_a_batch_that_fails_or_takes_too_long_raises(web: Web, impasto: Impasto) -> None:
    faults = [{"line": 4, "pointer": "/content", "detail": "no picture"}]
    web.route("/v1/batches/batch_1", answer_json(batch(status="failed", errors=faults)))
    with pytest.raises(BatchFailed, match="line 4: no picture") as caught:
        impasto.batches.wait("batch_1")
    assert caught.value.batch.errors == (FieldError("/content", "no picture", 4),)
    lost = {"code": "batch_lines_lost", "title": "lost", "detail": "send them again", "pointer": None}
    web.route("/v1/batches/batch_1", answer_json(batch(status="failed", error=lost)))
    with pytest.raises(BatchFailed, match="failed: send them again") as caught:
        impasto.batches.wait("batch_1")
    assert caught.value.batch.error == JobError("batch_lines_lost", "lost", "send them again")
    web.route("/v1/batches/batch_1", answer_json(batch(), Retry_After="600"))
    with pytest.raises(BatchTimeoutError, match="2 of 3 left"):
        impasto.batches.wait("batch_1", timeout=0.05)


def test_cancel_retry_and_delete_go_to_their_addresses(web: Web, impasto: Impasto) -> None:
    web.route("/v1/batches/batch_1/cancel", answer_json(batch(cancel_requested=True), 202))
    web.route("/v1/batches/batch_1/retry", answer_json(batch(id="batch_2", retry_of="batch_1"), 202))
    web.route("/v1/batches/batch_1", lambda exchange: exchange.reply(204))
    assert impasto.batches.cancel("batch_1").cancel_requested
    assert impasto.batches.retry("batch_1").retry_of == "batch_1"
    assert web.seen[1].headers["Idempotency-Key"]
    impasto.batches.delete("batch_1")
    assert [seen.method for seen in web.seen] == ["POST", "POST", "DELETE"]


ZIP = bytes(range(256)) * 4000
TAG = f'"{hashlib.sha256(ZIP).hexdigest()}"'


class Archive:
    """Serves ranges of a file, and breaks off after so many bytes of each answer."""

    def __init__(self, data: bytes = ZIP, tag: str = TAG, most: int | None = None) -> None:
        self.data, self.tag, self.most = data, tag, most
        self.sent = 0
        self.lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        asked, ours = exchange.headers.get("Range"), exchange.headers.get("If-Range") == self.tag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and ours else 0
        body = self.data[start:]
        exchange.send_response(206 if start else 200)
        exchange.send_header("ETag", self.tag)
        exchange.send_header("Content-Length", str(len(body)))
        if start:
            end = len(self.data) - 1
            exchange.send_header("Content-Range", f"bytes {start}-{end}/{len(self.data)}")
        exchange.end_headers()
        part = body[: self.most]
        with self.lock:
            self.sent += len(part)
        exchange.wfile.write(part)
        exchange.close_connection = len(part) < len(body)


def test_an_archive_that_breaks_off_is_gone_on_with(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    archive = Archive(most=len(ZIP) // 2 + 1)
    web.route("/v1/batches/batch_1/archive.zip", archive)
    path = impasto.batches.archive("batch_1", tmp_path / "all.zip")
    assert path.read_bytes() == ZIP
    assert [seen.headers.get("Range", "")[:6] for seen in web.seen] == ["", "bytes="]
    assert archive.sent == len(ZIP)
    assert [found.name for found in tmp_path.iterdir()] == ["all.zip"]


def test_an_archive_that_is_being_built_is_waited_for(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    building = status(202, b'{"done": 1, "total": 9}', Retry_After="0")
    many = [building] * (2 * QUICK.attempts)
    late = status(202, Retry_After="9" * 400)
    web.route("/v1/batches/batch_1/archive.zip", in_turn(*many, late, Archive()))
    assert impasto.batches.archive("batch_1", tmp_path / "all.zip").read_bytes() == ZIP


def test_an_archive_is_gone_on_with_by_a_later_call(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    archive = Archive(most=len(ZIP) // 10)
    web.route("/v1/batches/batch_1/archive.zip", archive)
    with pytest.raises(UnreachableError):
        impasto.batches.archive("batch_1", tmp_path / "all.zip")
    assert not (tmp_path / "all.zip").exists()
    had, archive.most = archive.sent, None
    assert had > 0
    assert impasto.batches.archive("batch_1", tmp_path / "all.zip").read_bytes() == ZIP
    assert archive.sent <= len(ZIP) + 2**16


def test_an_archive_that_is_another_by_now_is_begun_anew(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    web.route("/v1/batches/batch_1/archive.zip", Archive(most=1000))
    with pytest.raises(UnreachableError):
        impasto.batches.archive("batch_1", tmp_path / "all.zip")
    web.route("/v1/batches/batch_1/archive.zip", Archive(ZIP[::-1], '"other"'))
    assert impasto.batches.archive("batch_1", tmp_path / "all.zip").read_bytes() == ZIP[::-1]


def test_a_range_that_was_not_asked_for_is_not_taken(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    headers = {"ETag": TAG, "Content_Range": f"bytes 7-{len(ZIP) - 1}/{len(ZIP)}"}
    web.route("/v1/batches/batch_1/archive.zip", status(206, ZIP[7:], **headers))
    with pytest.raises(DamagedError, match="another part"):
        impasto.batches.archive("batch_1", tmp_path / "all.zip")
    assert list(tmp_path.iterdir()) == []

"""Faults 17 and 18: sources that misbehave, and sources that change, as a job meets them."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shared.jobs.record import Job, Queue, Stage, Status
from shared.pictures import PictureLimits, clean
from tests.integration.service.support import HeldPicture, picture
from tests.support.rig import SHORT_LEASE, SMALL, SUCCESSOR, Process, Rig
from tests.support.waiting import wait_for
from tests.support.web import Answer, Exchange, Web, content, drip, in_turn, redirect, status
from tests.unit.pictures.files import decoded, encoded

#: How long a fetch may take where it is to take too long, and where a busy machine is not to be what ends it.
FETCH_SECONDS, PATIENT_FETCH_SECONDS = 1.0, 20.0
MOST_BYTES = 100_000
#: Three attempts of a second each, on a machine that is busy with other things.
BOUND_SECONDS = 60
#: What the kernel's buffers on both sides may take beyond what the worker reads.
BOUND_BYTES = 20 * 2**20


class Counted:
    """An answer that does not end by itself, and how much of it was taken."""

    def __init__(self, *, chunked: bool) -> None:
        self.sent = 0
        self._chunked = chunked

    def __call__(self, exchange: Exchange) -> None:
        exchange.send_response(200)
        if self._chunked:
            exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        block = bytes(65_536)
        while not exchange.web.closing.is_set():
            exchange.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if self._chunked else block)
            self.sent += len(block)


def slow_headers(exchange: Exchange) -> None:
    """A header that comes a byte at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 10_000:
        exchange.wfile.write(bytes([byte]))
        if exchange.web.closing.wait(0.02):
            return


def cut_short(exchange: Exchange) -> None:
    """Less than was announced."""
    exchange.reply(200, picture(), Content_Length=str(len(picture()) + 10))
    exchange.close_connection = True


def gzip_bomb(exchange: Exchange) -> None:
    """50 MB in a body of 50 kB, compressed although that was not asked for."""
    assert exchange.headers["Accept-Encoding"] == "identity"
    exchange.reply(200, gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")


def limited(folder: Path, fetch_seconds: float) -> Rig:
    """One job at a time: a worker that is not free for the next one shows."""
    return Rig(folder, intake_slots=1, fetch_seconds=fetch_seconds, picture_bytes=MOST_BYTES)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with limited(tmp_path_factory.mktemp("hasty"), FETCH_SECONDS) as rig:
        yield rig


@pytest.fixture(scope="module")
def hasty_intake(hasty: Rig) -> Process:
    return hasty.worker(Queue.INTAKE)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with limited(tmp_path_factory.mktemp("sources"), PATIENT_FETCH_SECONDS) as rig:
        yield rig


@pytest.fixture(scope="module")
def intake(guarded: Rig) -> Process:
    return guarded.worker(Queue.INTAKE)


def ended(rig: Rig, web: Web, intake: Process, answer: Answer) -> Job:
    """The job whose content is answered so, ended within bounds, once the worker has done another too."""
    good = web.file("/good.png", picture())
    job = rig.submit_urls(web.route("/bad", answer), good)
    next_one = rig.submit_urls(good, good)
    job = rig.ended(job)
    assert rig.fetched(next_one).stage is Stage.WAITING
    assert intake.status is None
    assert job.status is Status.FAILED
    assert job.completed_at is not None
    assert job.completed_at - job.created_at < BOUND_SECONDS
    rig.audit()
    return job


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(slow_headers, id="slow headers"),
        pytest.param(drip(picture(), every=0.02), id="slow body"),
        pytest.param(cut_short, id="cut short"),
    ],
)
def test_a_source_that_may_do_better_is_given_up_after_three_attempts(
    hasty: Rig, web: Web, hasty_intake: Process, answer: Answer
) -> None:
    job = ended(hasty, web, hasty_intake, answer)
    assert job.error is not None
    assert (job.error.code, job.error.pointer) == ("attempts_exhausted", "/content")
    assert [error.code for error in job.attempt_errors] == ["fetch_unreachable"] * 3
    assert [seen.path for seen in web.seen].count("/bad") == 3


@pytest.mark.fault(17)
@pytest.mark.parametrize(
    ("answer", "code", "requests"),
    [
        pytest.param(redirect("/bad"), "fetch_failed", 4, id="redirect loop"),
        pytest.param(
            status(200, Content_Length=str(MOST_BYTES + 1)), "picture_too_large", 1, id="too much announced"
        ),
        pytest.param(
            status(200, picture(), Content_Length="100"), "picture_unreadable", 1, id="too little announced"
        ),
        pytest.param(gzip_bomb, "fetch_failed", 1, id="gzip bomb"),
    ],
)
def test_a_source_that_does_wrong_is_asked_once(
    guarded: Rig, web: Web, intake: Process, answer: Answer, code: str, requests: int
) -> None:
    job = ended(guarded, web, intake, answer)
    assert job.error is not None
    assert (job.error.code, job.error.pointer, job.attempt) == (code, "/content", 1)
    assert [seen.path for seen in web.seen].count("/bad") == requests


@pytest.mark.fault(17)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_without_end_is_left_at_the_limit(
    guarded: Rig, web: Web, intake: Process, chunked: bool
) -> None:
    endless = Counted(chunked=chunked)
    job = ended(guarded, web, intake, endless)
    assert job.error is not None
    assert (job.error.code, job.attempt) == ("picture_too_large", 1)
    assert endless.sent < BOUND_BYTES


#: Two pictures that nobody takes for one another, nor a painting of one for a painting of the other.
FIRST, SECOND = (encoded(Image.new("RGB", (96, 64), colour), "PNG") for colour in ("#f0e040", "#102060"))


def changing() -> Answer:
    """A source that shows one picture to the first who asks, and another ever after."""
    return in_turn(content(FIRST), content(SECOND))


def shown_by(rig: Rig, data: bytes) -> str:
    """The hash of a file's clean copy, as a record has it."""
    return clean(data, PictureLimits.of(rig.config)).sha256


def distance(data: bytes, other: bytes) -> float:
    """How far apart two pictures of one aspect are: the mean difference of their values."""
    size = (24, 16)
    one, two = (np.asarray(decoded(d).convert("RGB").resize(size), dtype=float) for d in (data, other))
    return float(np.abs(one - two).mean())


@pytest.mark.fault(18)
def test_a_source_that_changes_before_the_job_is_painted_again_does_not_change_the_job(
    rig: Rig, web: Web
) -> None:
    rig.worker(Queue.INTAKE)
    spec: dict[str, Any] = {**SMALL, "steps": 800, "init": "content"}
    job = rig.submit_urls(web.route("/changing", changing()), web.file("/style", FIRST), spec=spec)
    fetched = rig.fetched(job)
    assert fetched.content.sha256 == shown_by(rig, FIRST)

    painter = rig.worker(Queue.PAINT, **SHORT_LEASE)
    rig.painting(job, step=20)
    painter.kill()
    rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)

    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    assert done.content == fetched.content
    assert [seen.path for seen in web.seen].count("/changing") == 1
    rig.has_its_one_result(done)
    (painted,) = rig.outputs(done).values()
    assert distance(painted, FIRST) < distance(painted, SECOND) / 4
    rig.audit()


@pytest.mark.fault(18)
def test_a_picture_that_was_in_when_its_worker_died_is_not_fetched_again(rig: Rig, web: Web) -> None:
    held = HeldPicture()
    worker = rig.worker(Queue.INTAKE, **SHORT_LEASE)
    job = rig.submit_urls(web.route("/changing", changing()), web.route("/held.png", held))
    first = wait_for(
        lambda: now if (now := rig.now(job)).content.sha256 else None, "the first picture to be in"
    )
    assert held.asked.wait(60)
    assert (first.stage, first.content.sha256) == (Stage.FETCHING, shown_by(rig, FIRST))
    assert first.styles[0].sha256 is None

    worker.kill()
    held.go_on.set()
    rig.worker(Queue.INTAKE, **SUCCESSOR)

    fetched = rig.fetched(job)
    assert fetched.content == first.content
    assert fetched.styles[0].sha256 is not None
    assert sorted(seen.path for seen in web.seen) == ["/changing", "/held.png", "/held.png"]
    assert [(error.code, error.stage) for error in fetched.attempt_errors] == [("worker_lost", "fetching")]
    rig.audit()

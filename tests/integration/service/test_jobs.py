"""Jobs through the whole house: HTTP, Redis, Celery workers, engine, object store."""

import hashlib
import os
from itertools import chain
from pathlib import Path

import httpx
import pytest
from PIL import Image

from client import ApiError, Impasto, JobFailed, Style
from client.models import JobError
from deploy.local import House
from shared.jobs.keys import Key
from shared.redis import connect
from shared.settings import Settings
from tests.integration.service.support import (
    LONG,
    SECONDS,
    SMALL,
    facts,
    mask,
    picture,
    plain,
    wait_until_painting,
)
from tests.support.receiver import Receiver
from tests.support.waiting import wait_for
from tests.support.web import Web


def test_a_job_by_url_ends_with_a_picture_of_the_size_asked_for(impasto: Impasto, web: Web, tmp_path: Path):
    content, style = web.file("/content.png", picture()), web.file("/style.png", picture(hue=90))

    job = impasto.wait(impasto.submit(content, [style], spec=SMALL).id, timeout=SECONDS)

    saved = impasto.download(job, tmp_path / "out.png")
    assert facts(saved.read_bytes()) == ("PNG", (64, 43))
    assert hashlib.sha256(saved.read_bytes()).hexdigest() == job.output.sha256
    assert job.metrics["evaluations"] == SMALL["steps"]
    assert {"fetch", "wait", "paint", "store"} <= set(job.metrics["seconds"])


def test_a_job_by_upload_with_two_styles_succeeds_and_skips_intake(impasto: Impasto):
    styles = [Style(picture(hue=30), 1.0), Style(picture(hue=200), 0.5)]

    job = impasto.wait(impasto.submit(picture(), styles, spec=SMALL).id, timeout=SECONDS)

    assert job.succeeded
    assert "fetch" not in job.metrics["seconds"]


def test_a_job_with_masks_regions_and_a_start_is_painted_from_them_and_shows_them(
    impasto: Impasto, web: Web, tmp_path: Path
):
    sky, ground = mask(upper=True), mask(upper=False)
    styles = [
        Style(
            picture(hue=50), mask=web.file("/face.png", mask(upper=True)), region=web.file("/sky.png", sky)
        ),
        Style(web.file("/style.png", picture(hue=90)), region=ground),
    ]
    start = web.file("/sketch.png", picture(hue=170))

    spec = {**SMALL, "init": "picture"}
    submitted = impasto.submit(picture(), styles, init=start, spec=spec)
    job = impasto.wait(submitted.id, timeout=SECONDS)

    assert facts(impasto.download(job, tmp_path / "out.png").read_bytes()) == ("PNG", (64, 43))
    first, second = job.raw["styles"]
    assert first["mask"]["image"] == web.url + "/face.png"
    assert first["region"]["image"] == web.url + "/sky.png"
    assert first["mask"]["sha256"] == first["region"]["sha256"], "the same picture is kept once"
    assert (second["mask"], second["region"]["width"], second["region"]["height"]) == (None, 24, 16)
    assert (job.raw["init"]["image"], job.raw["init"]["width"]) == (start, 96)
    assert (job.spec["init"], job.metrics["evaluations"]) == ("picture", SMALL["steps"])


def test_the_picture_painting_starts_from_shows_in_the_result(impasto: Impasto, tmp_path: Path):
    """One evaluation, so that the result is the start itself."""
    spec = {**SMALL, "steps": 1, "init": "picture"}
    submitted = impasto.submit(picture(), [picture(hue=3)], init=plain("red"), spec=spec)

    saved = impasto.download(impasto.wait(submitted.id, timeout=SECONDS), tmp_path / "out.png")

    with Image.open(saved) as image:
        assert image.getpixel((32, 20)) == (255, 0, 0)


def test_a_mask_that_is_black_fails_the_job_with_its_place(impasto: Impasto):
    style = Style(picture(hue=11), mask=plain("black"))
    submitted = impasto.submit(picture(), [picture(hue=3), style], spec=SMALL)

    error = _failure(impasto, submitted.id)

    assert (error.code, error.pointer) == ("mask_empty", "/styles/1/mask")


def test_a_purged_job_with_masks_leaves_nothing_behind(impasto: Impasto, house: House):
    hues = range(201, 206)
    content, style, face, sky, start = (picture(hue=hue) for hue in hues)
    named = [Style(style, mask=face, region=sky)]
    submitted = impasto.submit(content, named, init=start, spec={**SMALL, "steps": 1, "init": "picture"})
    job = impasto.wait(submitted.id, timeout=SECONDS)
    shown = job.raw["styles"][0]
    views = [job.raw["content"], shown, shown["mask"], shown["region"], job.raw["init"]]
    hashes = [view["sha256"] for view in views]

    with connect(Settings(redis_url=house.redis_url, redis_timeout=20)) as redis:
        # One reference by the job, one by its upload, which lives on for its own time.
        assert redis.hmget(Key.REFS, hashes) == ["2"] * 5
        impasto.delete(job.id)
        assert redis.hmget(Key.REFS, hashes) == ["1"] * 5
        assert not [key for key in redis.scan_iter("*") if job.id in key]
    wait_for(lambda: not _kinds_of_objects(house, job.id), "the job's objects to be gone")


@pytest.mark.parametrize("file_format", ["jpeg", "webp"])
def test_the_result_has_the_format_asked_for(impasto: Impasto, tmp_path: Path, file_format: str):
    submitted = impasto.submit(picture(), [picture(hue=9)], spec={**SMALL, "output_format": file_format})

    saved = impasto.download(impasto.wait(submitted.id, timeout=SECONDS), tmp_path / "out")

    assert facts(saved.read_bytes())[0] == file_format.upper()


def test_the_same_job_twice_gives_the_same_picture(impasto: Impasto):
    spec = {**SMALL, "init": "noise"}
    jobs = [impasto.submit(picture(), [picture(hue=7)], spec=spec, fresh=True) for _ in range(2)]

    ended = [impasto.wait(job.id, timeout=SECONDS) for job in jobs]

    assert len({job.output.sha256 for job in ended}) == 1
    assert all(job.raw["reused_from"] is None and job.metrics["seconds"]["paint"] for job in ended)


def test_jobs_that_are_alike_share_one_painting_and_each_can_be_deleted(impasto: Impasto, house: House):
    spec = {**SMALL, "seed": 12}
    submitted = [impasto.submit(picture(), [picture(hue=7)], spec=spec) for _ in range(3)]

    first, *others = [impasto.wait(job.id, timeout=SECONDS) for job in submitted]

    assert [job.raw["reused_from"] for job in others] == [first.id] * 2
    impasto.delete(first.id)
    impasto.delete(others[0].id)
    with httpx.Client(base_url=house.url, timeout=60) as http:
        data = http.get(f"/v1/jobs/{others[1].id}/output").content
    assert hashlib.sha256(data).hexdigest() == first.output.sha256
    impasto.delete(others[1].id)
    assert list((house.data_dir / "objects" / "outputs").glob(f"{first.id}/*")) == []


def test_a_running_job_that_is_cancelled_ends_canceled(impasto: Impasto):
    submitted = impasto.submit(picture(), [picture(hue=3)], spec=LONG)
    wait_until_painting(impasto, submitted.id)

    impasto.cancel(submitted.id)

    with pytest.raises(JobFailed) as ended:
        impasto.wait(submitted.id, timeout=SECONDS)
    assert ended.value.job.status == "canceled"
    assert impasto.cancel(submitted.id).status == "canceled"


def test_a_waiting_job_that_is_cancelled_ends_at_once(impasto: Impasto):
    running = impasto.submit(picture(), [picture(hue=3)], spec=LONG)
    wait_until_painting(impasto, running.id)
    waiting = impasto.submit(picture(), [picture(hue=4)], spec=LONG)

    assert impasto.cancel(waiting.id).status == "canceled"

    impasto.cancel(running.id)


def test_a_backbone_that_no_worker_offers_is_refused_with_what_to_run(impasto: Impasto):
    with pytest.raises(ApiError) as refused:
        impasto.submit(picture(), [picture(hue=3)], spec={"backbone": "vgg19"})

    assert refused.value.code == "backbone_unavailable"
    assert "impasto weights fetch vgg19" in str(refused.value)


def test_a_url_that_answers_404_fails_the_job_and_names_the_field(impasto: Impasto, web: Web):
    submitted = impasto.submit(web.file("/content.png", picture()), [web.url + "/gone.png"], spec=SMALL)

    error = _failure(impasto, submitted.id)

    assert (error.code, error.pointer) == ("fetch_failed", "/styles/0")
    assert "404" in error.detail


def test_an_ended_job_leaves_its_result_and_nothing_else_of_its_own(impasto: Impasto, house: House):
    submitted = impasto.submit(picture(), [picture(hue=8)], spec={**LONG, "steps": 400})

    impasto.wait(submitted.id, timeout=SECONDS)

    def only_a_result_is_left() -> bool:
        return _kinds_of_objects(house, submitted.id) == {"outputs"}

    wait_for(only_a_result_is_left, "checkpoints and preview to be gone")


def test_a_picture_of_one_pixel_is_painted(impasto: Impasto, tmp_path: Path):
    submitted = impasto.submit(picture(1, 1), [picture(hue=3)], spec=SMALL)

    saved = impasto.download(impasto.wait(submitted.id, timeout=SECONDS), tmp_path / "out.png")

    assert max(facts(saved.read_bytes())[1]) == SMALL["size"]


def test_a_text_file_named_jpg_fails_the_job_as_unreadable(impasto: Impasto, web: Web):
    text = web.file("/really.jpg", b"this is not a picture\n" * 20, "image/jpeg")
    submitted = impasto.submit(text, [web.file("/style.png", picture())], spec=SMALL)

    error = _failure(impasto, submitted.id)

    assert (error.code, error.pointer) == ("picture_unreadable", "/content")


def test_a_text_file_uploaded_is_refused_at_once(impasto: Impasto):
    with pytest.raises(ApiError) as refused:
        impasto.upload(b"this is not a picture\n" * 20)

    assert refused.value.code == "picture_unreadable"


def test_a_running_job_shows_progress_and_a_preview(impasto: Impasto):
    submitted = impasto.submit(picture(), [picture(hue=3)], spec=LONG)

    try:
        seen = wait_until_painting(impasto, submitted.id)
        preview = wait_for(lambda: _get(seen.urls["preview"]), "a preview")
        assert max(facts(preview)[1]) == LONG["size"]
        assert 0 < seen.progress.step <= LONG["steps"]
    finally:
        impasto.cancel(submitted.id)


def _kinds_of_objects(house: House, job_id: str) -> set[str]:
    """The folders in which something of a job lies."""
    objects = house.data_dir / "objects"
    # Folders may go while they are looked at, which `os.walk` passes over.
    found = (Path(folder, name) for folder, *names in os.walk(objects) for name in chain(*names))
    return {path.relative_to(objects).parts[0] for path in found if job_id in str(path)}


def _failure(impasto: Impasto, job_id: str) -> JobError:
    with pytest.raises(JobFailed) as ended:
        impasto.wait(job_id, timeout=SECONDS)
    assert ended.value.job.status == "failed"
    return ended.value.job.error


def _get(url: str) -> bytes | None:
    response = httpx.get(url, timeout=60)
    return response.content if response.is_success else None


def test_a_receiver_is_told_of_a_job_and_finds_the_picture_that_it_is_told_of(house: House, web: Web):
    took = Receiver(web)
    body = {
        "content": web.file("/content.png", picture()),
        "styles": [web.file("/style.png", picture(hue=90))],
        "spec": SMALL,
        "webhook": {"url": took.url},
        "fresh": True,
    }
    with httpx.Client(base_url=house.url, timeout=60) as http:
        job = http.post("/v1/jobs", json=body).json()
        wait_for(lambda: len(took.got) >= 2, "the receiver to be told", SECONDS)
        secret = http.get("/v1/webhooks/secret").json()["secret"]
        events = {event["type"]: event["data"] for event in (one.verified(secret) for one in took.got)}
        assert set(events) == {"job.processing", "job.succeeded"}
        assert {data["id"] for data in events.values()} == {job["id"]}
        output = events["job.succeeded"]["output"]
        assert hashlib.sha256(http.get(output["url"]).content).hexdigest() == output["sha256"]

"""A job's pictures brought in: real store, real objects, real server, real decoder."""

import io
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import redis
from PIL import Image

from shared.errors import (
    Fault,
    FetchFailed,
    FetchRefused,
    FetchUnreachable,
    PictureUnreadable,
    StorageUnavailable,
    UploadNotFound,
)
from shared.jobs.pictures import Picture
from shared.jobs.record import Job
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.objects.local import LocalObjects
from shared.pictures import PictureLimits, clean, keep
from shared.settings import Settings
from tests.support.jobs import new_job
from tests.support.web import Web, in_turn, status
from worker.intake.prepare import prepare


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    trusted = (ip_network("127.0.0.0/8"),)
    return Settings(data_dir=tmp_path, redis_url=valkey, trusted_networks=trusted, redis_timeout=20)


def picture(colour: str, file_format: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, file_format)
    return file.getvalue()


def job(store: JobStore, content: str | Picture, *styles: str | Picture) -> Job:
    first, *rest = (named if isinstance(named, Picture) else Picture(named) for named in (content, *styles))
    return store.submit(new_job(content=first, styles=tuple(rest), skip_intake=False)).job


def test_every_picture_is_fetched_made_clean_and_kept(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    urls = [web.file(f"/{colour}", picture(colour)) for colour in ("red", "green", "blue")]
    inputs = prepare(job(store, urls[0], Picture(urls[1], weight=0.25), urls[2]), store, objects, config)
    assert [found.source for _, found in inputs.each()] == urls
    assert [style.weight for style in inputs.styles] == [0.25, 1.0]
    for _, found in inputs.each():
        assert found.key == f"inputs/{found.sha256}"
        assert (found.width, found.height) == (40, 30)
        image = Image.open(io.BytesIO(objects.get(found.key)))
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (40, 30))


def test_masks_regions_and_the_start_are_fetched_with_the_rest_and_each_source_once(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    urls = {name: web.file(f"/{name}", picture(name)) for name in ("red", "green", "blue", "white", "grey")}
    there = keep(clean(picture("black"), PictureLimits.of(config)), store, objects, source="upload:up_1")
    styles = (
        Picture(urls["green"], weight=0.5, mask=Picture(urls["white"]), region=Picture(urls["grey"])),
        Picture(urls["blue"], mask=there, region=Picture(urls["grey"])),
    )
    start = Picture(urls["red"])
    submitted = store.submit(new_job(content=Picture(urls["red"]), styles=styles, init=start)).job

    inputs = prepare(submitted, store, objects, config)

    assert sorted(seen.path for seen in web.seen) == sorted(f"/{name}" for name in urls)
    assert [(pointer, found.source, found.weight) for pointer, found in inputs.each()] == [
        (pointer, named.source, named.weight) for pointer, named in submitted.inputs.each()
    ]
    assert inputs.stored
    assert inputs.styles[1].mask == there
    shown = {
        pointer: Image.open(io.BytesIO(objects.get(str(f.key)))).getpixel((0, 0))
        for pointer, f in inputs.each()
    }
    assert shown["/styles/0/mask"] == (255, 255, 255)
    assert shown["/styles/0/region"] == shown["/styles/1/region"] == (128, 128, 128)
    assert shown["/init"] == shown["/content"] == (254, 0, 0)


@pytest.mark.parametrize("part", ["mask", "region", "init"])
def test_a_fault_of_a_mask_or_the_start_points_at_it(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, part: str
) -> None:
    good, bad = Picture(web.file("/a", picture("red"))), Picture(web.url + "/missing")
    style = good if part == "init" else replace(good, **{part: bad})
    init = bad if part == "init" else None
    submitted = store.submit(new_job(content=good, styles=(good, style), init=init)).job
    with pytest.raises(FetchFailed) as caught:
        prepare(submitted, store, objects, config)
    assert caught.value.pointer == ("/init" if part == "init" else f"/styles/1/{part}")


def test_a_source_named_twice_is_fetched_once(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    url = web.file("/same", picture("red"))
    inputs = prepare(job(store, url, Picture(url, weight=2.0)), store, objects, config)
    assert inputs.content.key == inputs.styles[0].key
    assert (inputs.content.weight, inputs.styles[0].weight) == (1.0, 2.0)
    assert len(web.seen) == 1


def test_a_picture_that_has_its_copy_is_left_alone(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    """Also when its source has changed or gone since."""
    there = keep(
        clean(picture("red"), PictureLimits.of(config)), store, objects, source=web.url + "/gone", weight=0.5
    )
    inputs = prepare(job(store, web.file("/a", picture("blue")), there), store, objects, config)
    assert inputs.content.key
    assert inputs.styles == (there,)
    assert [seen.path for seen in web.seen] == ["/a"]


def test_an_upload_is_looked_up_for_its_owner(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    kept = keep(clean(picture("red"), PictureLimits.of(config)), store, objects)
    submitted = job(store, "upload:up_1", web.file("/a", picture("blue")))
    store.add_upload(submitted.owner, "up_1", kept)
    content = prepare(submitted, store, objects, config).content
    assert (content.source, content.key) == ("upload:up_1", kept.key)
    other = job(store, "upload:up_2", web.file("/a", picture("blue")))
    store.add_upload("somebody else", "up_2", kept)
    with pytest.raises(UploadNotFound) as caught:
        prepare(other, store, objects, config)
    assert caught.value.pointer == "/content"


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("/missing", FetchFailed),
        ("/busy", FetchUnreachable),
        ("/page", PictureUnreadable),
        ("http://10.0.0.1/a.jpg", FetchRefused),
        ("file:///etc/passwd", FetchRefused),
    ],
)
def test_a_fault_points_at_its_picture(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, bad: str, kind: type[Fault]
) -> None:
    web.route("/busy", status(503))
    web.file("/page", b"<!doctype html><p>Sign in", "image/jpeg")
    good = web.file("/a", picture("red"))
    named = job(store, good, good, bad if ":" in bad else web.url + bad)
    with pytest.raises(kind) as caught:
        prepare(named, store, objects, config)
    assert caught.value.pointer == "/styles/1"


def test_a_fault_that_stays_goes_before_one_that_may_pass(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    web.route("/busy", status(503))
    with pytest.raises(FetchFailed) as caught:
        prepare(job(store, web.url + "/busy", web.url + "/missing"), store, objects, config)
    assert caught.value.pointer == "/styles/0"


def test_a_second_attempt_may_succeed(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    url = web.route("/a", in_turn(status(503), lambda exchange: exchange.reply(200, picture("red"))))
    submitted = job(store, url, url)
    with pytest.raises(FetchUnreachable) as caught:
        prepare(submitted, store, objects, config)
    assert caught.value.retryable
    assert prepare(submitted, store, objects, config).content.key


def test_storage_that_is_away_is_an_infrastructure_fault(web: Web, store: JobStore, config: Settings) -> None:
    (config.data_dir / "file").write_bytes(b"")
    url = web.file("/a", picture("red"))
    submitted, broken = job(store, url, url), LocalObjects(config.data_dir / "file")
    with pytest.raises(StorageUnavailable) as caught:
        prepare(submitted, store, broken, config)
    assert caught.value.retryable


def test_what_was_fetched_is_held_until_the_job_names_it(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, redis_client: redis.Redis
) -> None:
    url = web.file("/a", picture("red"))
    content = prepare(job(store, url, url), store, objects, config).content
    assert redis_client.zscore("im:unused", str(content.sha256)) is not None
    assert store.garbage(10) == []

"""A job's pictures from a real object store, as the engine takes them."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from shared.errors import InternalFault, MaskEmpty
from shared.jobs.pictures import Picture
from shared.jobs.record import Job
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.pictures import PictureLimits, clean, keep
from shared.redis import connect
from shared.settings import Settings
from tests.support.jobs import new_job
from worker.pictures import load


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, redis_timeout=20, data_dir=tmp_path)


@pytest.fixture
def objects(config: Settings) -> ObjectStore:
    return open_objects(config)


def kept(config: Settings, objects: ObjectStore, image: Image.Image) -> Picture:
    """A picture as intake keeps it."""
    file = io.BytesIO()
    image.save(file, "PNG")
    with connect(config) as client:
        return keep(clean(file.getvalue(), PictureLimits.of(config)), JobStore(client, config), objects)


def job(config: Settings, content: Picture, *styles: Picture, init: Picture | None = None) -> Job:
    with connect(config) as client:
        store = JobStore(client, config)
        return store.submit(new_job(content=content, styles=styles, init=init, skip_intake=True)).job


def test_every_picture_is_read_in_the_engines_terms(config: Settings, objects: ObjectStore) -> None:
    content = kept(config, objects, Image.new("RGB", (40, 30), "red"))
    half = Image.new("L", (6, 4), 0)
    half.paste(255, (0, 0, 3, 4))
    mask, region = kept(config, objects, half), kept(config, objects, Image.new("RGB", (5, 7), "lime"))
    first = replace(kept(config, objects, Image.new("RGB", (20, 10), "blue")), weight=0.5, mask=mask)
    second = replace(content, region=region)
    start = kept(config, objects, Image.new("RGB", (9, 8), "white"))

    loaded = load(job(config, content, first, second, init=start), objects)

    assert loaded.content.shape == (3, 30, 40)
    assert loaded.content[:, 0, 0].tolist() == [1, 0, 0]
    blue, red = loaded.styles
    assert (blue.image.shape, blue.weight, blue.digest) == ((3, 10, 20), 0.5, first.sha256)
    assert (red.weight, red.digest, red.mask) == (1.0, content.sha256, None)
    assert blue.region is None
    assert blue.mask is not None
    assert torch.allclose(blue.mask, torch.tensor([[1.0, 1, 1, 0, 0, 0]] * 4))
    assert red.region is not None
    assert torch.allclose(red.region, torch.full((7, 5), 0.587))
    assert loaded.init is not None
    assert loaded.init.shape == (3, 8, 9)


def test_without_masks_and_start_there_are_none(config: Settings, objects: ObjectStore) -> None:
    plain = kept(config, objects, Image.new("RGB", (4, 4), "red"))
    loaded = load(job(config, plain, plain), objects)
    assert loaded.init is None
    assert [(style.mask, style.region) for style in loaded.styles] == [(None, None)]


def test_a_black_mask_is_the_callers_fault_and_a_black_region_is_none(
    config: Settings, objects: ObjectStore
) -> None:
    plain = kept(config, objects, Image.new("RGB", (4, 4), "red"))
    black = kept(config, objects, Image.new("L", (4, 4), 0))
    (style,) = load(job(config, plain, replace(plain, region=black)), objects).styles
    assert style.region is not None
    assert not style.region.any()
    with pytest.raises(MaskEmpty) as caught:
        load(job(config, plain, plain, replace(plain, mask=black)), objects)
    assert (caught.value.pointer, caught.value.retryable) == ("/styles/1/mask", False)


@pytest.mark.parametrize("part", ["content", "style", "mask", "region", "init"])
def test_a_copy_that_is_gone_is_an_infrastructure_fault(
    config: Settings, objects: ObjectStore, part: str
) -> None:
    there = kept(config, objects, Image.new("RGB", (4, 4), "red"))
    gone = Picture("upload:up_1", key="inputs/gone", sha256="gone", width=4, height=4)
    named = {**dict.fromkeys(("content", "style", "mask", "region", "init"), there), part: gone}
    style = replace(named["style"], mask=named["mask"], region=named["region"])
    with pytest.raises(InternalFault, match="gone from the object store") as caught:
        load(job(config, named["content"], style, init=named["init"]), objects)
    assert caught.value.retryable


def test_a_picture_that_intake_never_stored_is_told_from_one_that_is_gone(
    config: Settings, objects: ObjectStore
) -> None:
    there = kept(config, objects, Image.new("RGB", (4, 4), "red"))
    with pytest.raises(InternalFault, match="no clean copy"):
        load(job(config, there, replace(there, mask=Picture("https://example.org/m.png"))), objects)

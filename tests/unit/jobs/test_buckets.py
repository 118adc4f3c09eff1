"""Buckets: what the pictures of a batch must agree in, and nothing else."""

from typing import Any

import pytest

from shared.jobs.buckets import bucket_for, bucket_of
from shared.jobs.new_job import new_record
from shared.jobs.pictures import Picture
from shared.spec import Spec
from tests.support.jobs import SPEC, clean, new_job

OTHERS: list[dict[str, Any]] = [
    {"backbone": "vgg19"},
    {"pooling": "max"},
    {"size": 256},
    {"steps": 7},
    {"pyramid": 1},
    {"optimizer": "adam"},
    {"weighting": "paper"},
    {"style_loss": "gram"},
    {"content_layers": {"conv2_2": 1.0}},
    {"style_layers": {"conv1_1": 1.0, "conv2_1": 1.0}},
]
OWN: list[dict[str, Any]] = [
    {"content_weight": 5.0},
    {"style_weight": 5.0},
    {"tv_weight": 5.0},
    {"alpha_beta": 0.01},
    {"style_scale": 2.0},
    {"color": "content"},
    {"photorealism": 1.0},
    {"init": "noise"},
    {"seed": 7},
    {"content_layers": {"conv4_2": 0.5}},
    {"output_format": "jpeg"},
    {"output_quality": 50},
]


def changed(change: dict[str, Any]) -> Spec:
    return SPEC.model_copy(update=change)


@pytest.mark.parametrize("change", OTHERS, ids=lambda change: next(iter(change)))
def test_a_batch_agrees_in(change: dict[str, Any]) -> None:
    assert bucket_of(changed(change), 64, 48) != bucket_of(SPEC, 64, 48)


@pytest.mark.parametrize("change", OWN, ids=lambda change: next(iter(change)))
def test_each_picture_of_a_batch_has_its_own(change: dict[str, Any]) -> None:
    assert bucket_of(changed(change), 64, 48) == bucket_of(SPEC, 64, 48)


def test_every_field_of_the_spec_is_one_or_the_other() -> None:
    assert {name for change in OTHERS + OWN for name in change} == Spec.model_fields.keys()


def test_layers_are_the_same_in_any_order() -> None:
    one = changed({"style_layers": {"conv1_1": 1.0, "conv2_1": 0.5}})
    other = changed({"style_layers": {"conv2_1": 1.0, "conv1_1": 0.5}})
    assert bucket_of(one, 8, 8) == bucket_of(other, 8, 8)


def test_contents_of_different_sizes_share_a_bucket_where_their_results_have_one_size() -> None:
    assert bucket_of(SPEC, 640, 480) == bucket_of(SPEC, 1280, 960)
    assert bucket_of(SPEC, 640, 480) != bucket_of(SPEC, 480, 640)


def test_a_record_has_a_bucket_once_its_pictures_are_in() -> None:
    assert new_record(new_job(skip_intake=True))["bucket"] == bucket_of(SPEC, 64, 48)
    assert "bucket" not in new_record(new_job())


def test_a_picture_of_unknown_size_has_none() -> None:
    assert bucket_for(SPEC, Picture("x", key=clean("x").key)) is None

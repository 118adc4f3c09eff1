"""What is written into a record is what is read from it."""

import json
from dataclasses import replace

import pytest

from shared.errors import ErrorInfo, FetchFailed
from shared.jobs.hashes import UnreadableRecordError, to_json
from shared.jobs.new_job import new_record
from shared.jobs.pictures import Inputs, Picture
from shared.jobs.record import SCHEMA, Job, PaintProgress, Status
from shared.spec import Spec
from tests.support.jobs import clean, new_job


def test_a_new_record_reads_as_the_job_it_was_made_of() -> None:
    new = new_job(
        metadata={"order": "ü"},
        styles=(
            replace(clean("a"), mask=clean("face"), region=Picture("https://x/sky.png")),
            Picture("https://x/b.jpg", weight=0.5),
        ),
        init=clean("sketch"),
        priority=4,
    )
    times = {"created_at": "1000", "deadline_at": "2500"}
    job = Job.from_hash({**new_record(new), **times, "version": "1", "status": "queued", "stage": "fetching"})

    for name in ("uid", "id", "owner", "spec", "content", "styles", "init", "metadata", "body_hash"):
        assert getattr(job, name) == getattr(new, name)
    assert (job.created_at, job.deadline_at, job.attempt, job.retry_of) == (1.0, 2.5, 0, None)
    assert (job.priority, job.inputs) == (4, new.inputs)


def test_a_record_of_before_masks_and_new_fields_of_the_spec_is_read_as_having_none() -> None:
    """As it was written by schema 1, to the letter."""
    spec = (
        '{"backbone":"compact","content_layers":{"conv4_2":1.0},"style_layers":{"conv1_1":1},"init":"noise"}'
    )
    job = Job.from_hash(
        {
            "uid": "u",
            "id": "u",
            "owner": "ann",
            "schema": "1",
            "version": "1",
            "status": "queued",
            "stage": "waiting",
            "spec": spec,
            "metadata": "{}",
            "body_hash": "h",
            "priority": "0",
            "content": '{"source":"https://x/a.jpg","weight":1.0}',
            "styles": '[{"source":"b","weight":0.5,"key":"inputs/b","sha256":"b","width":64,"height":48}]',
            "created_at": "1000",
            "deadline_at": "2500",
        }
    )
    assert job.init is None
    assert [(style.mask, style.region) for style in job.styles] == [(None, None)]
    assert job.styles[0].key == "inputs/b"
    assert (job.spec.init, job.spec.color, job.spec.alpha_beta) == ("noise", "style", None)
    assert job.spec.style_loss == "gram"  # all that there was, whatever the default is now


#: What a record of schema 6 means where its spec says nothing.
DEFAULTS_OF_SCHEMA_6 = {
    "backbone": "auto",
    "content_layers": None,
    "style_layers": None,
    "content_weight": 1.0,
    "style_weight": 15.0,
    "tv_weight": 60.0,
    "weighting": "normalized",
    "alpha_beta": None,
    "style_loss": "moments",
    "style_scale": 1.0,
    "color": "style",
    "photorealism": 0.0,
    "init": "content",
    "seed": 0,
    "size": 512,
    "steps": 256,
    "optimizer": "lbfgs",
    "pyramid": 0,
    "pooling": "avg",
    "output_format": "png",
    "output_quality": 92,
}


def test_a_spec_is_kept_without_its_defaults_which_are_those_of_the_schema() -> None:
    """When a default changes, `SCHEMA` goes up, and `_spec` says what the default was before."""
    assert (SCHEMA, Spec().model_dump(mode="json")) == (6, DEFAULTS_OF_SCHEMA_6)
    spec = Spec(backbone="compact", size=768)
    kept = {"backbone": "compact", "size": 768, "steps": 256}
    assert json.loads(new_record(new_job(spec=spec))["spec"]) == kept
    assert Job.from_hash(stored(spec='{"backbone":"compact","size":768}')).spec == spec


@pytest.mark.parametrize(("schema", "steps"), [("3", 370), ("4", 370), ("5", 320)])
def test_a_spec_that_was_kept_without_its_defaults_means_those_of_its_time(schema: str, steps: int) -> None:
    assert Job.from_hash(stored(schema=schema, spec='{"size":768}')).spec == Spec(size=768, steps=steps)
    assert Job.from_hash(stored(schema=schema, spec='{"steps":99}')).spec == Spec(steps=99)


@pytest.mark.parametrize("weight", [7.5, 15.0, 30.0])
def test_a_style_weight_that_was_given_is_not_fitted_when_it_is_read(weight: float) -> None:
    spec = Spec(backbone="compact", size=256, style_weight=weight)
    assert Job.from_hash({**stored(), **new_record(new_job(spec=spec))}).spec == spec


def test_a_picture_is_kept_without_what_follows_from_the_rest() -> None:
    assert "key" not in to_json(clean("a"))
    assert "weight" not in to_json(clean("a"))
    odd = replace(clean("a"), key="inputs/elsewhere", weight=0.5, mask=clean("m"))
    for picture in (clean("a"), odd, Picture("https://x/a.jpg")):
        assert Picture.from_plain(json.loads(to_json(picture))) == picture


def stored(**changes: str) -> dict[str, str]:
    times = {
        "created_at": "1000",
        "deadline_at": "2500",
        "version": "1",
        "status": "queued",
        "stage": "waiting",
    }
    return {**new_record(new_job()), **times, **changes}


def test_of_a_later_record_what_is_known_here_is_read() -> None:
    record = stored(schema=str(SCHEMA + 1))
    spec = {**json.loads(record["spec"]), "brush": {"width": 3}}
    content = {**json.loads(record["content"]), "depth": 16}
    progress = {"step": 1, "steps": 2, "level": 0, "levels": 1, "strokes": 9}
    job = Job.from_hash(
        record | {"spec": json.dumps(spec), "content": json.dumps(content), "progress": json.dumps(progress)}
    )
    assert job.spec == new_job().spec
    assert job.content == Job.from_hash(stored()).content
    assert job.progress == PaintProgress(1, 2, 0, 1)


def test_a_field_that_the_spec_does_not_have_is_no_record_of_ours() -> None:
    record = stored()
    spec = {**json.loads(record["spec"]), "brush": {"width": 3}}
    with pytest.raises(UnreadableRecordError, match=f"schema {SCHEMA}"):
        Job.from_hash(record | {"spec": json.dumps(spec)})


@pytest.mark.parametrize(
    "changes", [{"status": "dreaming"}, {"content": "[]"}, {"styles": "7"}, {"version": ""}, {"owner": None}]
)
def test_a_record_that_does_not_say_what_it_must_is_unreadable(changes: dict[str, str | None]) -> None:
    fields = {name: value for name, value in (stored() | changes).items() if value is not None}
    with pytest.raises(UnreadableRecordError):
        Job.from_hash(fields)


def test_json_is_compact_and_leaves_out_what_is_none() -> None:
    assert to_json(Picture("ü", 0.5)) == '{"source":"ü","weight":0.5}'
    error = ErrorInfo.of(FetchFailed("404"))
    assert ErrorInfo(**json.loads(to_json(error))) == error


def test_four_states_are_terminal() -> None:
    assert [status for status in Status if status.terminal] == ["succeeded", "failed", "canceled", "expired"]


def test_a_masks_json_stands_inside_its_styles_without_what_is_none() -> None:
    style = Picture("b", mask=Picture("m"))
    assert to_json((style,)) == '[{"source":"b","mask":{"source":"m"}}]'


def test_every_picture_is_named_once_with_its_place_in_the_request() -> None:
    style = Picture("b", mask=Picture("m"), region=Picture("r"))
    inputs = Inputs(Picture("a"), (style, Picture("c")), Picture("i"))
    assert [(pointer, picture.source) for pointer, picture in inputs.each()] == [
        ("/content", "a"),
        ("/styles/0", "b"),
        ("/styles/0/mask", "m"),
        ("/styles/0/region", "r"),
        ("/styles/1", "c"),
        ("/init", "i"),
    ]


def test_a_change_reaches_every_picture_and_leaves_each_in_its_place() -> None:
    style = Picture("b", weight=0.5, mask=Picture("m"), region=Picture("r"))
    inputs = Inputs(Picture("a"), (style, Picture("c")), Picture("i"))
    changed = inputs.changed(lambda picture: replace(picture, key=picture.source.upper()))
    assert [picture.key for _, picture in changed.each()] == ["A", "B", "M", "R", "C", "I"]
    assert changed.changed(lambda picture: replace(picture, key=None)) == inputs
    assert changed.stored
    assert not inputs.stored


@pytest.mark.parametrize("left", ["m", "r", "i"])
def test_one_picture_that_is_not_stored_is_enough_to_need_intake(left: str) -> None:
    style = replace(clean("b"), mask=clean("m"), region=clean("r"))
    inputs = Inputs(clean("a"), (style,), clean("i"))
    assert inputs.stored
    assert not inputs.changed(lambda p: replace(p, key=None) if p.source == left else p).stored

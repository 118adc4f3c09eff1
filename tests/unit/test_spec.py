"""The spec: strict bounds, optional everywhere, resolved from preset, defaults and backbone."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.backbones import BACKBONES, Backbone, uncatalogued
from shared.spec import (
    DEFAULT_PRESET,
    PRESETS,
    Spec,
    SpecRequest,
    UnresolvableSpecError,
    resolve,
    unresolvable,
)

COMPACT = BACKBONES["compact"]
EVERY_BACKBONE = pytest.mark.parametrize("backbone", BACKBONES.values(), ids=str)


def test_every_field_may_be_left_out() -> None:
    assert SpecRequest.model_validate({}).model_dump(exclude_none=True) == {"preset": DEFAULT_PRESET}


def test_the_request_has_the_specs_fields_and_a_preset() -> None:
    assert set(SpecRequest.model_fields) == {*Spec.model_fields, "preset"}


def test_an_empty_request_resolves_to_the_defaults_and_the_backbones_layers() -> None:
    spec = resolve({}, COMPACT)
    assert spec == Spec(
        backbone="compact", content_layers=COMPACT.content_layers, style_layers=COMPACT.style_layers
    )


@EVERY_BACKBONE
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves_on_every_backbone_and_leaves_nothing_open(
    preset: str, backbone: Backbone
) -> None:
    spec = resolve({"preset": preset}, backbone)
    assert spec.backbone == backbone.name
    # `alpha_beta` takes the place of the two weights where it is given.
    assert {name for name, value in spec.model_dump().items() if value is None} <= {"alpha_beta"}
    assert {name: getattr(spec, name) for name in PRESETS[preset]} == PRESETS[preset]


@pytest.mark.parametrize("weight", ["content_weight", "style_weight"])
def test_a_weight_given_beside_a_preset_stands_above_the_presets_ratio(weight: str) -> None:
    compact = BACKBONES["compact"]
    assert resolve({"preset": "faithful-2016"}, compact).alpha_beta == 1e-3
    asked = resolve({"preset": "faithful-2016", weight: 7.0}, compact)
    assert asked.alpha_beta is None
    assert getattr(asked, weight) == 7
    assert resolve({"preset": "faithful-2016", weight: 7.0, "alpha_beta": 1e-2}, compact).alpha_beta == 1e-2


def test_the_papers_terms_come_with_its_ratio_and_no_total_variation_unless_asked() -> None:
    plain = resolve({"weighting": "paper"}, COMPACT)
    assert (plain.alpha_beta, plain.tv_weight) == (1e-3, 0)
    own = resolve({"weighting": "paper", "style_weight": 4.0, "tv_weight": 2.0}, COMPACT)
    assert (own.alpha_beta, own.style_weight, own.tv_weight) == (None, 4, 2)
    assert resolve({"weighting": "normalized"}, COMPACT).alpha_beta is None


@pytest.mark.parametrize(
    ("request_", "weight"),
    [
        ({}, 15),
        ({"size": 512}, 15),
        ({"size": 2048}, 15),
        ({"size": 256}, 7.5),
        ({"preset": "fast"}, 7.5),
        ({"preset": "abstract", "size": 128}, 15),
        ({"style_loss": "gram"}, 195),
        ({"style_loss": "gram", "size": 256}, 97.5),
        ({"style_weight": 15, "size": 256}, 15),
    ],
)
def test_a_style_weight_that_nobody_gives_fits_the_size_and_the_style_loss(
    request_: dict[str, object], weight: float
) -> None:
    assert resolve(request_, COMPACT).style_weight == weight


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [64, 300, 1024])
def test_a_resolved_spec_means_itself(preset: str, size: int) -> None:
    spec = resolve({"preset": preset, "size": size}, COMPACT)
    assert resolve(spec.model_dump(), COMPACT) == spec


@EVERY_BACKBONE
def test_a_backbones_own_layers_are_layers_that_it_has(backbone: Backbone) -> None:
    assert {*backbone.content_layers, *backbone.style_layers} <= set(backbone.layers)
    assert sum(backbone.style_layers.values()) == pytest.approx(1)


def test_a_given_field_overrides_the_preset_which_overrides_the_default() -> None:
    spec = resolve({"preset": "fast", "size": 300}, COMPACT)
    assert (spec.size, spec.steps, spec.seed) == (300, PRESETS["fast"]["steps"], 0)


def test_a_field_given_as_null_counts_as_not_given() -> None:
    assert resolve({"size": None, "preset": None}, COMPACT) == resolve({}, COMPACT)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnresolvableSpecError, match="choose one of painting") as caught:
        resolve({"preset": "oil"}, COMPACT)
    assert caught.value.field == "preset"


@pytest.mark.parametrize("field", ["content_layers", "style_layers"])
def test_a_layer_that_the_backbone_lacks_is_refused_with_its_field(field: str) -> None:
    with pytest.raises(UnresolvableSpecError, match="compact has no layer conv5_4; it has conv1_1") as caught:
        resolve({field: {"conv4_2": 1.0, "conv5_4": 1.0}}, COMPACT)
    assert caught.value.field == field


def test_outside_the_catalogue_a_spec_names_its_layers_and_any_name_passes() -> None:
    backbone = uncatalogued("resnet34")
    layers = {"content_layers": {"layer2.3.relu_1": 1.0}, "style_layers": {"layer9": 1.0}}
    spec = resolve({**layers}, backbone)
    assert (spec.backbone, spec.content_layers, spec.style_layers) == ("resnet34", *layers.values())
    faults = {error.field: str(error) for error in unresolvable({"size": 64}, backbone)}
    assert faults.keys() == layers.keys()
    assert all("torchvision's names" in fault and "compact" in fault for fault in faults.values())


def test_a_style_looked_at_beyond_all_measure_is_refused() -> None:
    compact = BACKBONES["compact"]
    assert resolve({"size": 8192, "style_scale": 2}, compact).style_scale == 2
    for request in ({"size": 8192, "style_scale": 2.1}, {"preset": "print", "style_scale": 8, "size": 4096}):
        with pytest.raises(UnresolvableSpecError) as refused:
            resolve(request, compact)
        assert refused.value.field == "style_scale"


def test_every_field_that_cannot_be_resolved_is_named() -> None:
    request = {"preset": "oil", "content_layers": {"a": 1.0}, "style_layers": {"b": 1.0}}
    assert [e.field for e in unresolvable(request, COMPACT)] == ["preset", "content_layers", "style_layers"]


def test_a_request_is_not_changed_by_resolving_it() -> None:
    request = {"preset": "fast", "size": None}
    resolve(request, COMPACT)
    assert request == {"preset": "fast", "size": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 15},
        {"size": 8193},
        {"size": 512.5},
        {"size": "512"},
        {"size": True},
        {"steps": 0},
        {"steps": 20_001},
        {"seed": -1},
        {"seed": 2**53},
        {"pyramid": -1},
        {"pyramid": 9},
        {"content_weight": -1},
        {"content_weight": 2e9},
        {"style_weight": float("nan")},
        {"style_weight": float("inf")},
        {"tv_weight": "1"},
        {"weighting": "literal"},
        {"init": "random"},
        {"alpha_beta": 0},
        {"alpha_beta": -1e-3},
        {"alpha_beta": 2e6},
        {"alpha_beta": float("inf")},
        {"style_loss": "mean"},
        {"style_scale": 0.05},
        {"style_scale": 8.1},
        {"style_scale": float("nan")},
        {"color": "luma"},
        {"photorealism": -1},
        {"photorealism": 2e9},
        {"optimizer": "sgd"},
        {"pooling": "mean"},
        {"output_format": "gif"},
        {"output_quality": 0},
        {"output_quality": 101},
        {"backbone": "VGG 19"},
        {"backbone": ""},
        {"style_layers": {}},
        {"style_layers": {"conv1_1": 0}},
        {"style_layers": {"conv1_1": -1}},
        {"style_layers": {f"conv{n}": 1 for n in range(17)}},
        {"style_layers": ["conv1_1"]},
        {"preset": "oil"},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_what_is_outside_the_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SpecRequest.model_validate(wrong)


@pytest.mark.parametrize(
    "fine",
    [
        {"size": 16},
        {"size": 8192},
        {"alpha_beta": 1e-3},
        {"alpha_beta": 1e6},
        {"style_scale": 0.1},
        {"style_scale": 8},
        {"photorealism": 0},
        {"photorealism": 1e9},
        {"style_loss": "moments"},
        {"color": "content"},
        {"color": "match"},
        {"init": "picture"},
        {"style_weight": 300},
        {"style_weight": 0},
        {"style_layers": {"conv1_1": 0, "conv2_1": 1}},
        {"seed": 2**53 - 1},
        {"backbone": "auto"},
        {"preset": "photo"},
    ],
    ids=str,
)
def test_what_is_on_the_bounds_is_taken(fine: dict[str, Any]) -> None:
    SpecRequest.model_validate_json(json.dumps(fine))


@pytest.mark.parametrize(("name", "values"), PRESETS.items())
def test_a_preset_is_a_request_that_a_caller_could_write(name: str, values: dict[str, Any]) -> None:
    assert SpecRequest.model_validate(values)
    assert "preset" not in values, name


def test_neither_spec_nor_request_changes_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Spec().size = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        SpecRequest().size = 1  # type: ignore[attr-defined]


FIELDS = {
    "size": st.integers(16, 8192),
    "steps": st.integers(1, 20_000),
    "seed": st.integers(0, 2**53 - 1),
    "style_weight": st.floats(0, 1e12),
    "content_weight": st.floats(0, 1e9),
    "alpha_beta": st.floats(0, 1e6, exclude_min=True),
    "style_loss": st.sampled_from(["gram", "moments"]),
    "style_scale": st.floats(0.1, 8),
    "color": st.sampled_from(["style", "content", "match"]),
    "photorealism": st.floats(0, 1e9),
    "init": st.sampled_from(["content", "style", "noise", "picture"]),
    "optimizer": st.sampled_from(["lbfgs", "adam"]),
    "preset": st.sampled_from(list(PRESETS)),
    "content_layers": st.dictionaries(
        st.sampled_from(COMPACT.layers), st.floats(0.1, 1000), min_size=1, max_size=13
    ),
}


@settings(deadline=None)
@given(request=st.fixed_dictionaries({}, optional=FIELDS))
def test_a_request_that_is_taken_resolves_to_what_was_asked_and_survives_json(
    request: dict[str, Any],
) -> None:
    taken = SpecRequest.model_validate_json(json.dumps(request))
    assume(not list(unresolvable(request, COMPACT)))
    spec = resolve(taken.model_dump(exclude_none=True), COMPACT)
    assert {name: getattr(spec, name) for name in request if name != "preset"} == {
        name: value for name, value in request.items() if name != "preset"
    }
    assert Spec.model_validate_json(spec.model_dump_json()) == spec

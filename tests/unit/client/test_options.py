"""Options come from the spec: every field, its type, its bounds, its sentence."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from client.options import flag, given_init, given_spec, spec_options, style_options
from client.parameters import combined
from shared.spec import PRESETS, Spec, SpecRequest


@click.command()
@style_options
@spec_options
def probe(
    mix: tuple[float, ...] | None, masks: tuple[str, ...], regions: tuple[str, ...], **values: Any
) -> None:
    styles = combined(["a", "b"], mix, masks, regions)
    beside = [(style.weight, style.mask, style.region) for style in styles]
    click.echo(repr((beside, given_spec(values), given_init(values))))


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 0, result.output
    return eval(result.output)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def help_text() -> str:
    return " ".join(CliRunner().invoke(probe, ["--help"], terminal_width=100).output.split())


@pytest.mark.parametrize("name", list(SpecRequest.model_fields))
def test_every_field_has_an_option_with_its_sentence(name: str) -> None:
    sentence = SpecRequest.model_fields[name].description
    assert sentence
    assert flag(name) in help_text()
    assert " ".join(sentence.replace("`", "").split())[:40] in help_text()


def test_the_help_tells_defaults_bounds_and_choices() -> None:
    text = help_text()
    assert "[default: (512); 16<=x<=8192]" in text
    assert "[0<x<=1000000.0]" in text  # alpha_beta
    assert f"[{'|'.join(PRESETS)}]" in text
    style_weight = Spec.model_fields["style_weight"].default
    assert f"[default: ({style_weight:g}); 0<=x<=" in text


def test_nothing_given_is_an_empty_spec_so_that_presets_can_speak() -> None:
    assert run() == ([(1.0, None, None)] * 2, {}, None)


def test_values_arrive_with_their_types() -> None:
    beside, spec, start = run(
        "--size=256", "--style-weight=1e3", "--init=noise", "--preset=fast", "--mix=1,0.5", "--seed=7"
    )
    assert [weight for weight, *_ in beside] == [1.0, 0.5]
    assert start is None
    assert spec == {"size": 256, "style_weight": 1000.0, "init": "noise", "preset": "fast", "seed": 7}


@pytest.mark.parametrize("text", ["conv1_1=0.2, conv2_1=0.8", '{"conv1_1": 0.2, "conv2_1": 0.8}'])
def test_layers_are_written_as_a_list_or_as_json(text: str) -> None:
    assert run("--style-layers", text)[1] == {"style_layers": {"conv1_1": 0.2, "conv2_1": 0.8}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size=15",), "16<=x<=8192"),
        (("--alpha-beta=0",), "0<x<=1000000.0"),
        (("--style-scale=9",), "0.1<=x<=8"),
        (("--color=luma",), "'style', 'content', 'match'"),
        (("--mask=a.png",), "--mask is given 1 times for 2 styles; give it once for each, - for none"),
        (("--region=a", "--region=b", "--region=c"), "--region is given 3 times for 2 styles"),
        (("--init=picture",), "name the picture itself"),
        (("--init=",), "name the picture itself"),
        (("--mix=1",), "--mix has 1 weights for 2 styles"),
        (("--size=big",), "is not a valid integer"),
        (("--optimizer=sgd",), "'lbfgs', 'adam'"),
        (("--style-layers=conv1_1",), "not of the form conv1_1=0.2"),
        (("--style-layers=conv1_1=-1",), "not of the form conv1_1=0.2"),
        (("--style-layers=conv1_1=0",), "--style-layers: Value error, at least one layer"),
        (("--style-layers={1",), "not JSON"),
        (("--backbone=VGG 19",), "--backbone: String should match"),
        (("--style-weight=nan",), "--style-weight"),
        (("--mix=1,a",), "not of the form 1,0.5"),
        (("--mix=1,-1",), "not of the form 1,0.5"),
        (("--colour=blue",), "No such option"),
    ],
)
def test_what_is_wrong_is_refused_with_a_hint(arguments: tuple[str, ...], says: str) -> None:
    assert says in refused(*arguments)


def test_an_option_is_the_fields_name_with_dashes() -> None:
    assert [flag(name) for name in ("size", "style_weight")] == ["--size", "--style-weight"]
    assert len({flag(name) for name in Spec.model_fields}) == len(Spec.model_fields)


@pytest.mark.parametrize("nothing", ["-", ""])
def test_masks_and_regions_go_to_the_styles_in_their_order(nothing: str) -> None:
    beside, *_ = run("--mask", nothing, "--mask=m.png", "--region=r.png", "--region", nothing)
    assert beside == [(1.0, None, "r.png"), (1.0, "m.png", None)]


@pytest.mark.parametrize("start", ["sketch.jpg", "./noise", "https://example.org/noise", "upload:up_1"])
def test_a_picture_to_start_from_says_the_specs_part_too(start: str) -> None:
    assert run("--init", start)[1:] == ({"init": "picture"}, start)


@pytest.mark.parametrize("start", ["content", "style", "noise"])
def test_a_start_without_a_picture_is_the_specs_alone(start: str) -> None:
    assert run("--init", start)[1:] == ({"init": start}, None)


def test_the_help_tells_that_init_takes_a_picture() -> None:
    assert "--init [content|style|noise|PICTURE]" in help_text()

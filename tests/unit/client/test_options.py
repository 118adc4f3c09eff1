"""Options come from the spec: every field, its type, its bounds, its sentence."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from client.options import flag, given_spec, mix_option, spec_options
from shared.spec import PRESETS, Spec, SpecRequest


@click.command()
@mix_option
@spec_options
def probe(mix: tuple[float, ...] | None, **values: Any) -> None:
    click.echo(repr((mix, given_spec(values))))


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
    assert "[default: (512); 16<=x<=4096]" in text
    assert f"[{'|'.join(PRESETS)}]" in text
    style_weight = Spec.model_fields["style_weight"].default
    assert f"[default: ({style_weight:g}); 0<=x<=" in text


def test_nothing_given_is_an_empty_spec_so_that_presets_can_speak() -> None:
    assert run() == (None, {})


def test_values_arrive_with_their_types() -> None:
    mix, spec = run(
        "--size=256", "--style-weight=1e3", "--init=noise", "--preset=fast", "--mix=1,0.5", "--seed=7"
    )
    assert mix == (1.0, 0.5)
    assert spec == {"size": 256, "style_weight": 1000.0, "init": "noise", "preset": "fast", "seed": 7}


@pytest.mark.parametrize("text", ["conv1_1=0.2, conv2_1=0.8", '{"conv1_1": 0.2, "conv2_1": 0.8}'])
def test_layers_are_written_as_a_list_or_as_json(text: str) -> None:
    assert run("--style-layers", text)[1] == {"style_layers": {"conv1_1": 0.2, "conv2_1": 0.8}}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--size=15",), "16<=x<=4096"),
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

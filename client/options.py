"""Command-line options made from the spec: names, types, bounds, defaults and help are `shared.spec`'s."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from pydantic import ValidationError

from client.formats import USUAL, format_of
from client.parameters import layer_weights, mix, start
from shared.spec import DEFAULT_PRESET, PRESET_DESCRIPTIONS, Spec, SpecRequest

F = TypeVar("F", bound=Callable[..., Any])

#: What `--init` takes beside a picture.
STARTS = tuple(one for one in get_args(Spec.model_fields["init"].annotation) if one != "picture")

_STYLE_OPTIONS = (
    click.option(
        "--mix",
        type=mix,
        metavar="WEIGHT,...",
        help="Weights of the styles in their order, such as 1,0.5; all the same by default.",
    ),
    click.option(
        "--mask",
        "masks",
        metavar="PICTURE",
        multiple=True,
        help="Grey picture: white where the style is to be learnt from. Once for each style, in their order; "
        "- for all of it.",
    ),
    click.option(
        "--region",
        "regions",
        metavar="PICTURE",
        multiple=True,
        help="Grey picture: white where the content is to be painted with the style. Once for each style, in "
        "their order; - for all of it.",
    ),
)


def style_options(command: F) -> F:
    """Give a command the options beside its styles: `mix`, `masks` and `regions`."""
    for option in reversed(_STYLE_OPTIONS):
        command = option(command)
    return command


def spec_options(command: F) -> F:
    """Give a command one option for each field of the spec; its function takes them as keyword arguments."""
    properties = SpecRequest.model_json_schema()["properties"]
    # click lists options as decorators stand: the one applied last comes first.
    for name in reversed(["preset", *Spec.model_fields]):
        command = _option(name, properties[name])(command)
    return command


def given_spec(values: Mapping[str, Any]) -> dict[str, Any]:
    """Pick the spec's fields from a command's arguments, without those that were not given.

    Raises:
        click.UsageError: a value is outside the spec's bounds.
    """
    spec = {name: values[name] for name in SpecRequest.model_fields if values.get(name) is not None}
    if given_init(values) is not None:
        spec["init"] = "picture"
    try:
        SpecRequest.model_validate(spec)
    except ValidationError as error:
        lines = (f"{flag(str(fault['loc'][0]))}: {fault['msg']}" for fault in error.errors())
        raise click.UsageError("\n".join(lines)) from error
    return spec


def given_init(values: Mapping[str, Any]) -> str | None:
    """The picture to start from among a command's arguments; None where the start is made otherwise."""
    init: str | None = values.get("init")
    return None if init in STARTS else init


def format_for(output: Path | None, asked: str | None) -> str | None:
    """The format to ask for a picture in: as `--output-format` says, or as its file is called.

    Nothing is asked for where the picture would have it anyway, so that a request does not change with the
    name of its file: the same ID and request give the same job.

    Args:
        output: the file that the picture goes to.
        asked: what `--output-format` says.

    Raises:
        click.UsageError: the two contradict each other.
    """
    named = format_of(output) if output else None
    if asked and named and asked != named:
        raise click.UsageError(
            f"{flag('output_format')} asks for {asked}, and {output} is called like a file of the format "
            f"{named}: change one of them, or leave {flag('output_format')} out"
        )
    return asked or (named if named != USUAL else None)


def flag(name: str) -> str:
    """The option for a field of the spec."""
    return "--" + name.replace("_", "-")


def _option(name: str, schema: Mapping[str, Any]) -> Callable[[F], F]:
    sentence = " ".join(schema["description"].replace("`", "").split())
    metavar = "LAYER=WEIGHT,..." if name.endswith("_layers") else None
    if name == "init":
        # The field and the job's picture in one: a picture's name says both.
        schema = {"type": "picture"}
        metavar = f"[{'|'.join(STARTS)}|PICTURE]"
        sentence += " Here the picture itself stands for both."
    elif name == "preset":
        presets = (f"{preset}: {text}" for preset, text in PRESET_DESCRIPTIONS.items())
        sentence = " ".join((sentence, *presets))
    else:
        schema = next(one for one in schema["anyOf"] if one["type"] != "null")
    return click.option(
        flag(name),
        name,
        type=_type(schema),
        metavar=metavar,
        help=sentence,
        # Told, not filled in: the spec's resolver does that, and a preset may say otherwise.
        show_default=_default(name),
    )


def _default(name: str) -> str | None:
    default = DEFAULT_PRESET if name == "preset" else Spec.model_fields[name].default
    if default is None:
        return None
    return f"{default:g}" if isinstance(default, float) else str(default)


def _type(schema: Mapping[str, Any]) -> object:
    if "enum" in schema:
        return click.Choice(schema["enum"])
    match schema["type"]:
        case "integer":
            return click.IntRange(schema.get("minimum"), schema.get("maximum"))
        case "number":
            above = schema.get("exclusiveMinimum")
            return click.FloatRange(schema.get("minimum", above), schema.get("maximum"), above is not None)
        case "object":
            return layer_weights
        case "picture":
            return start
    return click.STRING

"""Command-line values that click does not know: functions from the text to the value, for `type=`."""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

from client.models import Style


def layer_weights(text: str) -> dict[str, float]:
    """Layers and their weights: `conv1_1=0.2,conv2_1=0.2`, or a JSON object as in a request."""
    if text.lstrip().startswith("{"):
        return _json(text)
    layers: dict[str, float] = {}
    for part in text.split(","):
        layer, _, weight = part.strip().partition("=")
        number = _weight(weight)
        if not layer or number is None:
            raise click.BadParameter(f"{part!r} is not of the form conv1_1=0.2")
        layers[layer] = number
    return layers


def mix(text: str) -> tuple[float, ...]:
    """Weights of the styles, in their order: `1,0.5`."""
    numbers = [_weight(part) for part in text.split(",")]
    known = tuple(number for number in numbers if number is not None)
    if len(known) != len(numbers):
        raise click.BadParameter(f"{text!r} is not of the form 1,0.5")
    return known


def pair(text: str) -> tuple[str, str]:
    """A name and a value: `order=A-17`."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not of the form name=value")
    return name, value


def output_file(text: str) -> Path:
    """A file that is to be written: its folder takes one of that name, and no folder has the name."""
    path = Path(text)
    if os.path.isdir(path) or text.endswith(os.sep):  # noqa: PTH112 - False for a name that is too long, too
        raise click.BadParameter(f"{text!r} is a folder: name a file in it, such as {path / 'painting.png'}")
    if not os.path.isdir(path.parent):  # noqa: PTH112 - likewise
        raise click.BadParameter(f"there is no folder {path.parent}: make it first, or name another")
    try:
        # As downloads are called on their way.
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".part"):
            return path
    except OSError as error:
        raise click.BadParameter(
            f"the folder {path.parent} takes no file {path.name} ({error.strerror}): name another"
        ) from error


def sha256(text: str) -> str:
    """A SHA-256 in hexadecimal digits."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise click.BadParameter(f"{text!r} is not 64 hexadecimal digits")
    return text.lower()


def start(text: str) -> str:
    """What painting starts from: a word of the spec's, or a picture."""
    if text in ("", "picture"):
        raise click.BadParameter("name the picture itself, such as sketch.jpg")
    return text


def combined(
    styles: Sequence[str | Path],
    weights: Sequence[float] | None,
    masks: Sequence[str] = (),
    regions: Sequence[str] = (),
) -> list[Style]:
    """Each style with what stands beside it: weight 1, no mask and no region where none were given.

    Raises:
        click.UsageError: there is another number of weights, masks or regions than of styles.
    """
    count = len(styles)
    if weights is not None and len(weights) != count:
        raise click.UsageError(f"--mix has {len(weights)} weights for {count} styles")
    for option, given in (("--mask", masks), ("--region", regions)):
        if given and len(given) != count:
            raise click.UsageError(
                f"{option} is given {len(given)} times for {count} styles; give it once for each, - for none"
            )
    beside = zip(
        styles, weights or [1.0] * count, masks or [""] * count, regions or [""] * count, strict=True
    )
    return [Style(image, weight, _picture(mask), _picture(region)) for image, weight, mask, region in beside]


def _picture(text: str) -> str | None:
    return None if text in ("", "-") else text


def _json(text: str) -> dict[str, float]:
    try:
        layers: dict[str, float] = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"this is not JSON: {error}") from error
    return layers


def _weight(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None

"""Writes `docs/configuration.md`, `docs/metrics.md` and `docs/spec.md` from the code that they describe.

`python -m deploy.configuration` writes them, `--check` tells whether they are current. What a setting or a
field of the spec means is said in one place, its docstring in `shared.settings` or `shared.spec`.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import Metric

from api import metric_families
from shared.backbones import BACKBONES
from shared.settings import PREFIX, Settings
from shared.spec import DEFAULT_PRESET, PRESET_DESCRIPTIONS, PRESETS, Spec

DOCS = Path(__file__).parent.parent / "docs"
GENERATED = "<!-- Written by `python -m deploy.configuration`; change the docstrings there instead. -->"


def configuration() -> str:
    """The page about settings."""
    schema = Settings.model_json_schema()["properties"]
    rows = (
        (f"`{PREFIX}{name.upper()}`", _kind(field), _default(field), _sentence(field))
        for name, field in schema.items()
    )
    return f"""{GENERATED}

# Configuration

Every part of the service reads its settings from environment variables, once, when it starts. A variable
that begins with `{PREFIX}` and is not in this table is an error, so that a typing mistake cannot pass for a
default. `{PREFIX}URL` and `{PREFIX}TOKEN` belong to the [client](client.md).

{_table(("Variable", "Value", "Default", "Meaning"), rows)}
"""


def metrics() -> str:
    """The page about `/metrics`."""
    families = metric_families.every_family()
    return f"""{GENERATED}

# Metrics

What `GET /metrics` tells Prometheus. [Operations](operations.md#metrics) says how to scrape it, what to
alert on, and who may read it.

## Of the store

Counts and times are kept in Redis and go on over restarts. Every API process tells the same: where several
are scraped, take `max`, not `sum`, over them. A scrape is two commands, however many jobs there are. While
Redis is away these are missing, but for `impasto_redis_up`.

{_table(("Metric", "Type", "Labels", "Meaning"), map(_family, families.store))}

## Of one API process

Counts begin with the process. Beside these stand `process_*`, as `prometheus_client` has them: CPU time,
memory, open files and start of the API process.

{_table(("Metric", "Type", "Labels", "Meaning"), map(_family, families.process))}
"""


def _family(family: Metric) -> tuple[str, str, str, str]:
    """A family's row, named as it is scraped."""
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in metric_families.labels_of(family)) or "none"
    return f"`{name}`", family.type, labels, family.documentation


def spec() -> str:
    """The page about the spec."""
    schema = Spec.model_json_schema()["properties"]
    fields = (
        (f"`{name}`", _kind(field), _default(field), _sentence(field)) for name, field in schema.items()
    )
    presets = (
        (f"`{name}`", PRESET_DESCRIPTIONS[name], _differences(values)) for name, values in PRESETS.items()
    )
    backbones = (
        (
            f"`{one.name}`",
            one.description,
            _weights(one.content_layers),
            _weights(one.style_layers),
        )
        for one in BACKBONES.values()
    )
    layers = "\n".join(
        f"- `{one.name}`: {', '.join(f'`{layer}`' for layer in one.layers)}" for one in BACKBONES.values()
    )
    return f"""{GENERATED}

# The spec

What a job asks for: the `spec` of `POST /v1/jobs`, the options of the `impasto` command, the parameters of
the engine. Every field is optional. Values come from the fields given, then from the preset
(`{DEFAULT_PRESET}` where none is named), then from the defaults; layers, where nobody names them, from the
backbone. An unknown field, a value outside its bounds or a layer that the backbone does not have is an error.

{_table(("Field", "Value", "Default", "Meaning"), fields)}

## Presets

`preset` names one of these.

{_table(("Preset", "For", "Differs from the defaults in"), presets)}

## Backbones

{_table(("Backbone", "What it is", "Content layers", "Style layers"), backbones)}

Any other classification network of torchvision (but ViT and MaxViT) is a backbone as soon as a worker has its
weights; see [the engine](engine.md#backbones-and-weights). A spec that names one names `content_layers` and
`style_layers` too.

### Layers

Shallow to deep. In VGG networks and `compact` a name means the features after that convolution's ReLU; in
others it is torchvision's name of a node.

{layers}
"""


PAGES = {"configuration.md": configuration, "metrics.md": metrics, "spec.md": spec}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` return 1 where one is not current."""
    stale = [
        name
        for name, page in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text() != page()
    ]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is not current; run python -m deploy.configuration", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name]())
        print(f"wrote docs/{name}")
    return 0


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells)


def _sentence(field: Mapping[str, Any]) -> str:
    return " ".join(field["description"].split())


def _kind(field: Mapping[str, Any]) -> str:
    """What may stand as the value, for people."""
    one = next(one for one in field.get("anyOf", [field]) if one["type"] != "null")
    if "enum" in one:
        return ", ".join(f"`{value}`" for value in one["enum"])
    match one["type"]:
        case "integer":
            return "whole number" + _bounds(one)
        case "number":
            return "number" + _bounds(one)
        case "array":
            return "list"
        case "object":
            return "JSON object" + (_of_numbers(one["additionalProperties"]))
    return {"path": "path", "password": "secret"}.get(one.get("format", ""), "text")


def _of_numbers(values: Mapping[str, Any]) -> str:
    return f" of numbers{_bounds(values)}" if values.get("type") == "number" else ""


def _bounds(field: Mapping[str, Any]) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if "exclusiveMinimum" in field:
        most = f", {_number(high)} at most" if high is not None else ""
        return f" above {_number(field['exclusiveMinimum'])}{most}"
    if low is not None and high is not None:
        return f" from {_number(low)} to {_number(high)}"
    return f" from {_number(low)}" if low is not None else ""


def _default(field: Mapping[str, Any]) -> str:
    value = field["default"]
    if value in (None, [], {}):
        return "none"
    if isinstance(value, list):
        return f"`{','.join(map(str, sorted(value)))}`"
    return f"`{_number(value)}`" if isinstance(value, int | float) else f"`{value}`"


def _number(value: float) -> str:
    """A number without a needless `.0`; long ones as powers, where they are round."""
    if value == int(value):
        digits = str(int(value))
        zeros = len(digits) - len(digits.rstrip("0"))
        return f"1e{zeros}" if zeros >= 6 and digits.rstrip("0") == "1" else digits
    return str(value)


def _differences(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {_plain(value)}" for name, value in values.items()) or "nothing"


def _plain(value: object) -> str:
    return _number(value) if isinstance(value, int | float) else f"`{value}`"


def _weights(layers: Mapping[str, float]) -> str:
    """Layers and what they weigh; the weight once where it is the same for all."""
    if len(layers) > 1 and len(set(layers.values())) == 1:
        return f"{', '.join(f'`{name}`' for name in layers)}: 1/{len(layers)} each"
    return ", ".join(f"`{name}` {_number(weight)}" for name, weight in layers.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

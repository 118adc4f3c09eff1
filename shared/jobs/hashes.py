"""How values stand in the hashes that records are: the JSON of their fields, times, and what cannot be read.

Fields are text. Times are milliseconds since the epoch there, and seconds wherever Python handles them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class UnreadableRecordError(ValueError):
    """A record does not say what it must: it was damaged, or is of a later version."""


@contextmanager
def reading(kind: str, record: Mapping[str, str]) -> Iterator[None]:
    """Whatever is wrong with a record that is being read is one error.

    Args:
        kind: `job` or `batch`.
        record: its hash.

    Raises:
        UnreadableRecordError: it does not say what it must.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name, schema = record.get("uid"), record.get("schema")
        raise UnreadableRecordError(f"{kind} {name}: its record of schema {schema} cannot be read") from error


def fields_of(flat: Sequence[str]) -> dict[str, str]:
    """A hash as a script returns it, names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def to_json(value: Any) -> str:  # noqa: ANN401 - a dataclass, sequences of them, or plain data
    """Compact JSON of a dataclass or plain data, as records keep it: fields that are None left out.

    A dataclass that has a `to_plain` says by itself what is kept of it.
    """
    return _ENCODER.encode(value)


def from_json(text: str | None, default: Any) -> Any:  # noqa: ANN401 - any JSON
    """What a field says; the default where the record has no such field."""
    return json.loads(text) if text else default


def made(kind: type[T], plain: Mapping[str, Any]) -> T:
    """A dataclass from what `to_json` wrote; what only a later version knows is passed over."""
    known = _names(kind)  # type: ignore[arg-type] # classes are hashable
    return kind(**{name: value for name, value in plain.items() if name in known})


def optional(kind: type[T], text: str | None) -> T | None:
    """The dataclass that a field keeps; None where the record has no such field."""
    return made(kind, json.loads(text)) if text else None


def seconds(milliseconds: str | None) -> float | None:
    """A time or a duration; None where the record has no such field."""
    return int(milliseconds) / 1000 if milliseconds else None


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "to_plain"):
        return value.to_plain()
    # In the order of the class, which the hashes of what is written depend on.
    return {name: part for name, part in vars(value).items() if part is not None}


#: Made once: `json.dumps` makes one for each call that wants anything but its defaults.
_ENCODER = json.JSONEncoder(default=_plain, separators=(",", ":"), ensure_ascii=False)


@cache
def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(part.name for part in fields(kind))

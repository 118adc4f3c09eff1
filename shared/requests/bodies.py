"""Reading a JSON body into a model, with every fault found and pointed at.

JSON itself is read more strictly than Python does: a name twice in one object, NaN, text that is not UTF-8
and half a surrogate pair are refused, since two readers could understand them differently (RFC 7493).
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from shared.backbones import BACKBONES
from shared.errors import Fault, InvalidRequest, MalformedRequest
from shared.requests.models import JobWebhook, Style
from shared.spec import SpecRequest

M = TypeVar("M", bound=BaseModel)
Loc = tuple[str | int, ...]
#: Faults of one request after which no more are looked for.
MOST_FAULTS = 50_000
#: Names given more than once that are told of: each is looked for in the whole body.
_MOST_TWICE = 10


@dataclass
class Parsed(Generic[M]):
    """A body, as far as it could be read.

    Attributes:
        tree: the body as plain data.
        model: the validated body; None when anything is wrong with it.
        faults: what is wrong; later checks add theirs.
    """

    tree: Any
    model: M | None
    faults: list[Fault] = field(default_factory=list)
    #: Where the first so many faults are, and those places with all that is above them.
    _at: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _above: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    _known: int = field(default=0, init=False, repr=False, compare=False)

    def sound(self, pointer: str) -> bool:
        """True when no fault was found so far at `pointer`, above or below it."""
        for fault in self.faults[self._known :]:
            if fault.pointer is not None:
                self._at.add(fault.pointer)
                self._above.update(_way_to(fault.pointer))
        self._known = len(self.faults)
        return pointer not in self._above and self._at.isdisjoint(_way_to(pointer))


def parse(kind: type[M], data: bytes) -> Parsed[M]:
    """Read and validate JSON.

    Raises:
        MalformedRequest: it is not JSON; says where.
    """
    tree = read_tree(data)
    try:
        return Parsed(tree, kind.model_validate_json(data.removeprefix(BOM_UTF8)))
    except ValidationError as error:
        return Parsed(tree, None, _faults(error, kind))


def validated(kind: type[M], tree: Any, told: type[BaseModel] | None = None) -> Parsed[M]:  # noqa: ANN401
    """Validate what was read by `read_tree`, or put together from such parts.

    Args:
        kind: the model.
        tree: any JSON.
        told: the model whose fields a caller is told of; `kind` by default.
    """
    try:
        return Parsed(tree, kind.model_validate(tree))
    except ValidationError as error:
        return Parsed(tree, None, _faults(error, told or kind))


def read_tree(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """JSON as plain data. A byte order mark in front of it is ignored, as RFC 8259, section 8.1, lets us.

    Raises:
        MalformedRequest: it is not JSON; says where.
    """
    data = data.removeprefix(BOM_UTF8)
    twice: list[tuple[dict[str, Any], str]] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            counts = Counter(name for name, _ in items)
            twice.extend((made, name) for name in made if counts[name] > 1)
        return made

    try:
        tree = json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=_refuse_constant)
        if b"\\u" in data:
            json.dumps(tree, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(f"The body is not UTF-8 at byte {error.start}.") from error
    except UnicodeEncodeError as error:  # text that no answer could quote, and nothing store
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise MalformedRequest(f"The body has {half}, half of a pair that is one character.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise MalformedRequest(f"The body is not JSON at {where}: {error.msg}.") from error
    except RecursionError as error:
        raise MalformedRequest("The body is nested too deeply.") from error
    except ValueError as error:  # a number with thousands of digits
        raise MalformedRequest("The body has a number that is too long.") from error
    if twice:
        places = ", ".join(f"{_path_to(owner, tree)}/{escape(name)}" for owner, name in twice[:_MOST_TWICE])
        more = f" and {len(twice) - _MOST_TWICE} more" if len(twice) > _MOST_TWICE else ""
        raise MalformedRequest(f"The body gives {places}{more} twice or more; give each name once.")
    return tree


def _way_to(pointer: str) -> list[str]:
    """A JSON pointer and all that point to what is above."""
    tokens = pointer.split("/")
    return ["/".join(tokens[:count]) for count in range(1, len(tokens) + 1)]


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"The body has {name}, which is not JSON.")


def _path_to(target: object, tree: Any) -> str:  # noqa: ANN401
    """JSON pointer to an object that is part of `tree`; "" for the tree itself or one that was replaced."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        path, node = waiting.pop()
        if node is target:
            return path
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        waiting.extend((f"{path}/{escape(key)}", child) for key, child in items)
    return ""


def escape(part: object) -> str:
    """One token of a JSON pointer (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _faults(error: ValidationError, kind: type[BaseModel]) -> list[Fault]:
    found: list[Fault] = []
    for item in error.errors(include_url=False, include_input=False):
        if item["type"] == "json_invalid":  # our reading goes deeper than pydantic's
            raise MalformedRequest(f"The body is not JSON: {item['ctx']['error']}.")
        loc = _located(item["loc"])
        pointer = "".join(f"/{escape(part)}" for part in loc)
        found.append(InvalidRequest(_say(item["type"], item["msg"], loc, kind), pointer=pointer))
    return found


def _located(loc: Loc) -> Loc:
    """A pydantic location without what is not in the body: union tags and the mark of a dictionary's key."""
    if len(loc) > 2 and loc[0] == "styles" and loc[2] in ("string", "object"):
        loc = (*loc[:2], *loc[3:])
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


def _say(error: str, message: str, loc: Loc, kind: type[BaseModel]) -> str:
    """A message in the caller's terms."""
    match error:
        case "missing":
            return "This field is needed."
        case "extra_forbidden":
            return _unknown(str(loc[-1]), _fields_of(kind, loc[:-1]))
        case "model_type" | "model_attributes_type" | "dict_type":
            return "This is an object, in braces."
        case "list_type":
            return "This is a list, in brackets."
        case "string_pattern_mismatch" if loc == ("spec", "backbone"):
            return f"Choose one of {', '.join(['auto', *BACKBONES])}."
        case _:
            text = message.removeprefix("Value error, ").replace("Input should", "this should")
            return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."


def _fields_of(kind: type[BaseModel], loc: Loc) -> list[str]:
    """The fields that there are at a place in a body of this kind."""
    within: dict[str, type[BaseModel]] = {"styles": Style, "webhook": JobWebhook}
    return sorted((within.get(str(loc[0]), SpecRequest) if loc else kind).model_fields)


def _unknown(name: str, fields: Sequence[str]) -> str:
    close = get_close_matches(name, fields, n=1)
    hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(fields)}."
    return f"There is no field {name[:64]}; {hint}"

"""Loads the Lua scripts beside this file and runs them.

A script is one file and one transition. What several need stands in the files of `PARTS` and is put in front
of each, after the names of the keys; arguments travel as one JSON object, so that scripts read them by name.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import redis

from shared.jobs.keys import Key
from shared.redis import translated

#: What a script returns: an array.
Reply = list[Any]

#: Files of shared functions, in this order: each may use those before it, and declares what it calls of a
#: later one.
PARTS = (
    "reading",
    "measures",
    "changes",
    "deliveries",
    "records",
    "waiting",
    "quarantine",
    "endings",
    "attempts",
    "references",
    "lifetime",
    "pace",
    "batches",
    "places",
    "sharing",
    "archives",
)
#: Those of scripts that write nothing, which run much oftener.
READING_PARTS = ("reading", "places")
_WRITES_NOTHING = "no-writes"

_FOLDER = Path(__file__).parent
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@cache
def prelude(parts: tuple[str, ...] = PARTS) -> str:
    """What stands in front of a script: key names, then the shared functions."""
    names = ", ".join(f"{key.name.lower()} = '{key.value}'" for key in Key)
    functions = "\n".join((_FOLDER / f"{part}.lua").read_text() for part in parts)
    return f"local K = {{{names}}}\n{functions}"


@cache
def source(name: str) -> str:
    """A script as the server gets it: its shebang line, the prelude, and its own text."""
    shebang, body = (_FOLDER / f"{name}.lua").read_text().split("\n", 1)
    parts = READING_PARTS if _WRITES_NOTHING in shebang else PARTS
    return f"{shebang}\n{prelude(parts)}\n{body}"


@cache
def digest(text: str) -> str:
    """By what a server knows a script that it has seen."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one server. A server that does not know one (restart, flush) is sent it whole.

    Args:
        client: the server.
        defaults: arguments that every call is given.
        ask: sends a command to it; as the client does, unless given.
    """

    def __init__(
        self,
        client: redis.Redis,
        defaults: Mapping[str, object],
        ask: Callable[..., Reply] | None = None,
    ) -> None:
        self._ask: Callable[..., Reply] = ask or client.execute_command
        self._defaults = _ENCODER.encode(defaults)

    def run(self, script: str, **arguments: object) -> Reply:
        """Run a script; arguments that are None are left out.

        Raises:
            StoreUnavailable: Redis does not answer or refuses; the script ran whole or not at all.
        """
        given = _ENCODER.encode({name: value for name, value in arguments.items() if value is not None})
        text, argument = source(script), _joined(self._defaults, given)
        with translated():
            try:
                return self._ask("EVALSHA", digest(text), 0, argument)
            except redis.exceptions.NoScriptError:
                # One command again: a server can forget between being taught a script and being asked for it.
                return self._ask("EVAL", text, 0, argument)


def _joined(defaults: str, given: str) -> str:
    """Two JSON objects as one. Of a name that both have, what is given comes last and counts (cjson)."""
    return given if defaults == "{}" else defaults if given == "{}" else f"{defaults[:-1]},{given[1:]}"

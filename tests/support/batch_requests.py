"""Requests for batches, and what is wrong with them by the answers."""

import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.api import CONTENT, STYLE

NDJSON = {"Content-Type": "application/x-ndjson"}
LATER = NDJSON | {"Prefer": "respond-async"}
DEFAULTS = {"styles": [STYLE], "spec": {"size": 256}, "metadata": {"order": "A-17"}}
ITEMS = [{"custom_id": f"picture {index}", "content": f"{CONTENT}?{index}"} for index in range(3)]
#: Sends a batch of these items, and gives the batch of the answer.
Post = Callable[..., dict[str, Any]]
#: Gives the jobs of a batch.
Listed = Callable[[dict[str, Any]], list[dict[str, Any]]]


def ndjson(*lines: Any) -> bytes:
    """Lines of JSON; text as it is."""
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()


def faults(answer: httpx.Response) -> list[tuple[int | None, str]]:
    """Line and pointer of each fault that an answer tells of."""
    assert answer.status_code == 422, answer.text
    return [(error.get("line"), error["pointer"]) for error in answer.json()["errors"]]

"""Server-sent events as bytes (HTML Standard, section 9.2)."""

import json
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "text/event-stream"


def event(name: str, data: Mapping[str, Any] | str, event_id: str | None = None) -> bytes:
    """One event.

    Args:
        name: its type.
        data: an object, or the JSON of one on a single line.
        event_id: what `Last-Event-ID` names it by; without one the reader keeps the ID that it has.
    """
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    lines = [f"event: {name}", *([f"id: {event_id}"] if event_id else []), f"data: {text}", "", ""]
    return "\n".join(lines).encode()


def retry(milliseconds: int) -> bytes:
    """How long a reader is to wait before it connects again."""
    return f"retry: {milliseconds}\n\n".encode()

"""Bells as they come off their lists: what is none is thrown away with a line, and the worker listens on.

Anyone who can write to Redis can put anything on a list. Celery refuses a message that it can read and does
not know; one that it cannot read ends its whole process, at Kombu's first look. So they are looked at before.
"""

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as transport

from shared.celery_app import task_name
from shared.jobs.record import Queue

log = logging.getLogger(__name__)

_SHOWN = 120


#: What Kombu's reading of JSON raises.
_UNREADABLE = (ValueError, TypeError, KeyError, RecursionError)


class _Channel(transport.Channel):
    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - Kombu's
        self.connection.read = False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            if self.connection.read:
                raise
            log.warning("thrown away, it is no bell: %r", error)
            return True


class Transport(transport.Transport):
    """Kombu's, but for what is no bell.

    Attributes:
        read: whether the message that was taken off a list last could be read.
    """

    Channel = _Channel
    read = False

    def _deliver(self, message: object, queue: str) -> None:
        self.read = True
        if is_bell(message, queue):
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        else:
            log.warning("thrown away from %s, it is no bell: %.*s", queue, _SHOWN, repr(message))


def listen_carefully() -> None:
    """Let Celery's connections to Redis in this process be of this transport."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:{Transport.__name__}"


def is_bell(message: object, queue: str) -> bool:
    """Whether a message is a bell of this queue, such as `shared.bells` makes; it may carry more headers.

    Args:
        message: what the list held, read as JSON.
        queue: the list's name.
    """
    try:
        return _is_bell(message, queue)
    except (KeyError, TypeError, ValueError, RecursionError):
        return False


def _is_bell(message: Any, queue: str) -> bool:  # noqa: ANN401 - anything
    headers, properties = message["headers"], message["properties"]
    arguments, named, options = json.loads(base64.b64decode(message["body"], validate=True))
    return (
        (message["content-type"], message["content-encoding"]) == ("application/json", "utf-8")
        and headers["task"] == task_name(Queue(queue))
        and isinstance(headers["id"], str)
        and not headers.keys() & {"compression", "eta", "expires"}
        and properties["body_encoding"] == "base64"
        and isinstance(properties["delivery_tag"], str)
        and isinstance(properties["delivery_info"], Mapping)
        and (arguments, named) == ([], {})
        and isinstance(options, Mapping)
    )

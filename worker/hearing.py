"""How bells come to a worker: over connections like all others, and what is none is thrown away with a line.

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
    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - Kombu's
        """What the channel's connections are made with (`shared.celery_app`), in place of Kombu's reading."""
        kind, options = self.connection.client.transport_options["connection"]
        if asynchronous:
            kind = type("Watched", (_Watched, kind), {"channel": self})
        return {**options, "connection_class": kind}

    def let_go(self, connection: "_Watched") -> None:
        """Have the event loop let go of a connection that is closed."""
        if self._registered:
            self._on_connection_disconnect(connection)  # type: ignore[no-untyped-call]

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401 - Kombu's
        self.connection.read = False
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except _UNREADABLE as error:
            if self.connection.read:
                raise
            log.warning("thrown away, it is no bell: %r", error)
            return True


class _Watched:
    """Mixed into a kind of connection that Kombu's event loop looks after: it is told when one is closed."""

    channel: _Channel

    def disconnect(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        super().disconnect(*arguments, **options)  # type: ignore[misc]
        self.channel.let_go(self)


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
    TRANSPORT_ALIASES["redis"] = f"{__name__}:{Transport.__name__}"


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

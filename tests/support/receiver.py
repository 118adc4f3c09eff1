"""A receiver of webhooks on loopback: keeps what it is sent, and checks it with the reference library.

receiver = Receiver(web, answer=status(500))
...
wait_for(lambda: receiver.got, "the message")
event = receiver.got[0].verified(secret)
"""

import json
from dataclasses import dataclass
from typing import Any

from standardwebhooks import Webhook

from tests.support.web import Answer, Exchange, Web, status


@dataclass(frozen=True)
class Message:
    """One request that a receiver was sent."""

    method: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """The body, unchecked."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verified(self, secret: str) -> dict[str, Any]:
        """The body, once the reference library has found the signature right."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


class Receiver:
    """A route of a web server.

    Attributes:
        url: its address.
        got: what it was sent so far.
        answer: how it answers.
    """

    def __init__(self, web: Web, path: str = "/hook", answer: Answer | None = None) -> None:
        self.got: list[Message] = []
        self.answer = answer or status(204)
        self.url = web.route(path, self._answer)

    def types(self) -> list[str]:
        """Types of the events that it was sent."""
        return [message.event["type"] for message in self.got]

    def _answer(self, exchange: Exchange) -> None:
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        self.got.append(Message(exchange.command, headers, exchange.body))
        self.answer(exchange)

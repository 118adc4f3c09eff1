"""A delivery: one event that a receiver is told of, and what came of telling it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DeliveryState(StrEnum):
    """Where a delivery is in its life."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"
    DISABLED = "disabled"


class Outcome(StrEnum):
    """What came of an attempt: taken; to be tried again; given up; or the receiver wants no more."""

    DELIVERED = "delivered"
    AGAIN = "again"
    FAILED = "failed"
    GONE = "gone"


class DeliveryLostError(Exception):
    """The fence is not the delivery's current one: another attempt is made, or it was purged."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to deliver.

    Attributes:
        at: when it began, in milliseconds since the epoch, by the worker's clock.
        ms: how long it took.
        status: the receiver's answer; None where there was none.
        error: code of the fault where there was no answer, such as `fetch_unreachable`.
        detail: the fault in words.
        excerpt: the beginning of the answer's body, as text.
    """

    at: int
    ms: int
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    excerpt: str | None = None


@dataclass(frozen=True)
class Delivery:
    """One event, and what came of telling it. Times are seconds since the epoch, by Redis' clock.

    Attributes:
        id: the message's, the same in each attempt.
        kind: `job`, `batch` or `test`.
        uid: internal ID of what it tells of; None for a test. name: its caller's ID for it.
        type: the event's. url: the receiver's.
        created_at: when the event happened.
        version: the record's, then.
        state: whether it is to be sent.
        tries: attempts since it was told, or redelivered. attempts: of those there were, the last ones.
        due_at: when it is sent next, or when the attempt under way counts as lost; None unless it waits.
        under_way: whether an attempt was begun and has not ended.
        batch: of a job: the batch that it is an item of.
    """

    id: str
    owner: str
    kind: str
    uid: str | None
    name: str | None
    type: str
    url: str
    created_at: float
    version: int
    state: DeliveryState
    tries: int
    attempts: tuple[Attempt, ...]
    order: int
    due_at: float | None = None
    under_way: bool = False
    batch: str | None = None

    @classmethod
    def from_hash(cls, id: str, fields: Mapping[str, str], due: float | None = None) -> "Delivery":  # noqa: A002
        """Read a delivery from its Redis hash; `due` is its place in its line, in ms."""
        get = fields.get
        return cls(
            id=id,
            owner=fields["owner"],
            kind=fields["kind"],
            uid=get("uid"),
            name=get("name"),
            type=fields["type"],
            url=fields["url"],
            created_at=int(fields["at"]) / 1000,
            version=int(fields["version"]),
            state=DeliveryState(fields["state"]),
            tries=int(get("tries") or 0),
            attempts=tuple(Attempt(**entry) for entry in json.loads(get("log") or "[]")),
            order=int(fields["order"]),
            due_at=None if due is None else due / 1000,
            under_way="fence" in fields,
            batch=get("batch"),
        )


@dataclass(frozen=True)
class DeliveryClaim:
    """One attempt that is to be made.

    Attributes:
        delivery: as it was when the attempt was begun. fence: the attempt's name.
        record: the hash of the job or batch that it tells of; empty for a test.
        keys: the secrets to sign with.
    """

    delivery: Delivery
    fence: str
    record: Mapping[str, str]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Load:
    """What a sender has under way, and how much of it may be under way at a time.

    Attributes:
        room: deliveries that it can take now.
        hosts: under way by host. owners: under way by owner.
        slow: hosts that get one at a time.
        host_slots: most for one host. owner_slots: most of one owner.
    """

    room: int
    host_slots: int
    owner_slots: int
    hosts: Mapping[str, int] = field(default_factory=dict)
    owners: Mapping[str, int] = field(default_factory=dict)
    slow: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Secret:
    """What an owner's webhooks are signed with. Times are seconds since the epoch.

    Attributes:
        text: `whsec_` and base64.
        since: when it was made.
        ends: when it stops signing; None for the present one.
    """

    text: str
    since: float
    ends: float | None = None


@dataclass(frozen=True)
class DeliveryPage:
    """A part of the log, and the token for the next one where there is more."""

    deliveries: list[Delivery]
    next_token: str | None


def message_id(uid: str, event: str) -> str:
    """The ID of what tells of an event of the job or batch with this internal ID; as in `deliveries.lua`."""
    return f"msg_{uid.partition('_')[2] or uid}_{event.replace('.', '_')}"


def host_of(url: str) -> str:
    """Host and port as a receiver's address has them, in lower case; as in `deliveries.lua`."""
    rest = url.partition("://")[2]
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return rest[:end].lower()


def line_of(url: str, owner: str) -> str:
    """The line that deliveries to this receiver stand in; as in `deliveries.lua`."""
    return f"{host_of(url)} {owner}"

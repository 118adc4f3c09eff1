"""What receivers are to be told, have been told, and by which secrets it is signed.

That something is to be told is written by the scripts that change a job or a batch (`deliveries.lua`). Here
stands what follows: a chores worker claims deliveries that are due, and settles each with what came of it.
"""

import json
import secrets
import time
from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import redis

from shared.errors import Conflict, NotFound
from shared.ids import new_id
from shared.jobs.delivery import (
    Attempt,
    Delivery,
    DeliveryClaim,
    DeliveryLostError,
    DeliveryPage,
    DeliveryState,
    Load,
    Outcome,
    Secret,
    line_of,
    message_id,
)
from shared.jobs.hashes import fields_of
from shared.jobs.keys import Key
from shared.jobs.pages import page_size, page_start, page_token_of
from shared.jobs.policy import milliseconds, policy
from shared.jobs.scripts import Scripts
from shared.redis import translated
from shared.settings import Settings
from shared.webhooks.events import TEST_EVENT, BatchEvent, JobEvent
from shared.webhooks.signatures import new_secret

#: A secret that was replaced goes on signing for so long, so that receivers can be told of the new one.
OVERLAP_SECONDS = 86_400.0
#: Deliveries that one look for those of a batch reads at most; the page is then shorter than asked for.
MAX_LOOKED_AT = 5000
#: Those that it reads at once at least: the last of a page may be far from the one before.
FEWEST_READ = 200


class DeliveryStore:
    """All deliveries and secrets, in one Redis; safe to share between threads.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, redis: redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, policy(settings))
        self._lease = milliseconds(settings.webhook_seconds + settings.lease_seconds)

    # Callers' side.

    def secrets(self, owner: str) -> list[Secret]:
        """What an owner's webhooks are signed with, the present one first; made at first use."""
        with translated():
            kept: Any = self._redis.get(Key.WEBHOOK_SECRETS + owner)
        if not kept:
            [kept] = self._scripts.run("webhook_secrets", owner=owner, made=new_secret())
        return _secrets(kept)

    def rotate(self, owner: str) -> list[Secret]:
        """Sign with a new secret from now on, and for a day with the one before too."""
        overlap = milliseconds(OVERLAP_SECONDS)
        [kept] = self._scripts.run(
            "webhook_secrets", owner=owner, made=new_secret(), rotate=1, overlap=overlap
        )
        return _secrets(kept)

    def get(self, owner: str, id: str) -> Delivery:  # noqa: A002 - the caller's word
        """One delivery. Raises `NotFound`."""
        [found] = self._read([id])
        if found is None or found.owner != owner:
            raise _not_found(id)
        return found

    def of(self, kind: str, uid: str) -> list[Delivery]:
        """The deliveries of a job (`job`) or batch (`batch`), the latest event first."""
        ids = [message_id(uid, event) for event in (BatchEvent if kind == "batch" else JobEvent)]
        found = [delivery for delivery in self._read(ids) if delivery]
        return sorted(found, key=lambda delivery: delivery.order, reverse=True)

    def page(
        self,
        owner: str,
        *,
        state: DeliveryState | None = None,
        batch: str | None = None,
        limit: int = 100,
        page_token: str | None = None,
    ) -> DeliveryPage:
        """An owner's deliveries, the latest event first.

        Args:
            owner: whose.
            state: those in this state only.
            batch: those of this batch and of its jobs only; then a page may be shorter than asked for.
            limit: deliveries in the page, coerced to 1..1000.
            page_token: `next_token` of the page before.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = page_size(limit)
        most = limit if batch is None else MAX_LOOKED_AT
        with translated(), self._redis.pipeline() as pipeline:
            for part in [state] if state else DeliveryState:
                key = f"{Key.DELIVERY_LIST}{part}:{owner}"
                pipeline.zrevrangebyscore(
                    key, page_start(page_token), "-inf", start=0, num=most + 1, withscores=True
                )
            places = sorted(chain.from_iterable(pipeline.execute()), key=itemgetter(1), reverse=True)
        found: list[Delivery] = []
        looked_at = 0
        while len(found) < limit and looked_at < min(most, len(places)):
            few = max(limit - len(found), FEWEST_READ)
            for one in self._read([id_ for id_, _ in places[looked_at : min(looked_at + few, most)]]):
                looked_at += 1
                if one and _listed(one, state, batch):
                    found.append(one)
                if len(found) == limit:
                    break
        token = page_token_of(places[looked_at - 1][1]) if looked_at < len(places) else None
        return DeliveryPage(found, token)

    def redeliver(self, owner: str, id: str) -> Delivery:  # noqa: A002
        """Send a delivery once more, whatever its state, as if it had just been told.

        Raises:
            NotFound: no such delivery.
            Conflict: an attempt is under way.
        """
        reply = self._scripts.run("redeliver", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        if reply[0] == "conflict":
            raise Conflict("an attempt to deliver it is under way; wait for its end")
        return self.get(owner, id)

    def try_receiver(self, owner: str, url: str) -> Delivery:
        """Tell a receiver that it can be reached: attempted once, and kept for the retention time."""
        made = new_id("msg")
        self._scripts.run("try_receiver", id=made, owner=owner, type=TEST_EVENT, url=url)
        return self.get(owner, made)

    # Workers' side.

    def claim(self, load: Load) -> Sequence[DeliveryClaim]:
        """Begin attempts at deliveries that are due, as many as there is room for.

        An attempt that is not settled counts as lost when `webhook_seconds` and `lease_seconds` are over; the
        delivery is then due again.
        """
        found = self._scripts.run(
            "claim_deliveries",
            most=load.room,
            hosts=dict(load.hosts),
            owners=dict(load.owners),
            slow=dict.fromkeys(load.slow, 1),
            host_slots=load.host_slots,
            owner_slots=load.owner_slots,
            lease=self._lease,
            token=secrets.token_hex(8),
        )
        return [self._claimed(*one) for one in found]

    def settle(
        self, claim: DeliveryClaim, attempt: Attempt, outcome: Outcome, delay: float = 0
    ) -> DeliveryState:
        """An attempt has ended; returns the delivery's state now.

        Args:
            claim: the attempt.
            attempt: what is kept of it.
            outcome: what came of it.
            delay: seconds until the next attempt, where there is one; the delivery is given up where that is
                after the end of what it tells of.

        Raises:
            DeliveryLostError: the fence is stale.
        """
        kept = {name: value for name, value in vars(attempt).items() if value is not None}
        reply = self._scripts.run(
            "settle_delivery",
            id=claim.delivery.id,
            fence=claim.fence,
            attempt=json.dumps(kept, ensure_ascii=False),
            outcome=outcome,
            delay=milliseconds(delay),
        )
        if not reply:
            raise DeliveryLostError(claim.delivery.id)
        return DeliveryState(reply[0])

    def drop_ended(self, limit: int) -> int:
        """Forget tests whose retention is over; returns how many, `limit` at most."""
        return int(self._scripts.run("drop_deliveries", limit=limit)[0])

    def _claimed(self, id: str, fence: str, flat: list[str], subject: list[str], kept: str) -> DeliveryClaim:  # noqa: A002
        delivery = Delivery.from_hash(id, fields_of(flat))
        known = _secrets(kept) if kept else self.secrets(delivery.owner)
        return DeliveryClaim(delivery, fence, fields_of(subject), tuple(secret.text for secret in known))

    def _read(self, ids: Sequence[str]) -> list[Delivery | None]:
        """These deliveries; None for one that is not there."""
        with translated(), self._redis.pipeline() as pipeline:
            for one in ids:
                pipeline.hgetall(Key.DELIVERY + one)
            hashes = pipeline.execute()
            for one, fields in zip(ids, hashes, strict=True):
                line = line_of(fields["url"], fields["owner"]) if fields else ""
                pipeline.zscore(Key.DELIVERY_LINE + line, one)
            places = pipeline.execute() if ids else []
        return [
            Delivery.from_hash(one, fields, due) if fields else None
            for one, fields, due in zip(ids, hashes, places, strict=True)
        ]


def _listed(delivery: Delivery, state: DeliveryState | None, batch: str | None) -> bool:
    of_batch = batch in (None, delivery.batch) or (delivery.kind == "batch" and delivery.uid == batch)
    return of_batch and state in (None, delivery.state)


def _secrets(text: str) -> list[Secret]:
    found = [
        Secret(one["secret"], one["since"] / 1000, one["ends"] / 1000 if "ends" in one else None)
        for one in json.loads(text)
    ]
    return [secret for secret in found if secret.ends is None or secret.ends > time.time()]


def _not_found(id: str) -> NotFound:  # noqa: A002
    return NotFound(f"no delivery {id!r}")

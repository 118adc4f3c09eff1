"""Delivering webhooks: many at a time, so that a receiver that is slow or away delays nobody else.

What is due is claimed in Redis, with a lease: if this process dies in the middle of an attempt, another
follows with the same `webhook-id`. An event is thus delivered at least once. Each attempt has a thread of its
own, which ends within the time limit. A host has few of them at a time, one that was slow a single one, and
no owner has all.
"""

import logging
import random
import threading
import time
from collections import Counter, OrderedDict

from shared.errors import InternalFault, StoreUnavailable
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import (
    Attempt,
    DeliveryClaim,
    DeliveryLostError,
    DeliveryState,
    Load,
    Outcome,
    host_of,
)
from shared.jobs.record import Job
from shared.settings import Settings
from shared.webhooks.events import BatchEvent, JobEvent
from shared.webhooks.payloads import Payload, batch_message, greeting_message, job_message
from shared.webhooks.signatures import sign
from worker.chores.receiver import Answer, post, reach_of

log = logging.getLogger(__name__)

#: A receiver that takes longer than this to answer is slow, until it answers sooner.
SLOW_SECONDS = 3.0
#: Hosts that are remembered as slow.
MAX_SLOW = 10_000
#: How long a worker that is to leave waits for attempts under way. What is cut off is attempted again.
LEAVING_SECONDS = 3.0
JITTER = 0.1
_LOOK_SECONDS = 0.5
#: Seconds between two tries to write down what came of an attempt.
_SETTLE_PAUSE = 0.5
#: Seconds between two looks for tests whose retention is over, and how many go at a time.
_DROP_SECONDS, _DROP_LIMIT = 30.0, 200


class Deliverer:
    """Delivers what is due, until told to stop.

    Args:
        store: what is to be delivered.
        config: limits, and the API's address for links.
        draining: set when the worker is to go.
    """

    def __init__(self, store: DeliveryStore, config: Settings, draining: threading.Event) -> None:
        self._store = store
        self._config = config
        self._draining = draining
        self._reach = reach_of(config)
        self._base = (config.public_url or "").rstrip("/")
        self._lock = threading.Lock()
        self._hosts: Counter[str] = Counter()
        self._owners: Counter[str] = Counter()
        self._slow: OrderedDict[str, None] = OrderedDict()
        self._ended = threading.Event()
        self._dropped_at = -_DROP_SECONDS

    def step(self) -> bool:
        """Begin attempts at what is due; False when there is nothing to do.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        self._drop_ended()
        self._ended.clear()
        load = self._load()
        claims = self._store.claim(load) if load.room else ()
        for claim in claims:
            self._begin(claim)
        if claims:
            return True
        if load.room == self._config.webhook_slots:
            return False
        # An attempt that ends may let others begin.
        self._ended.wait(_LOOK_SECONDS)
        return True

    def finish(self) -> None:
        """The worker leaves: wait a little for attempts under way."""
        until = time.monotonic() + LEAVING_SECONDS
        while self._under_way() and time.monotonic() < until:
            self._ended.wait(0.1)
            self._ended.clear()
        if left := self._under_way():
            log.info("deliveries cut off, to be attempted again: %d", left)

    def _load(self) -> Load:
        with self._lock:
            return Load(
                room=max(0, self._config.webhook_slots - self._hosts.total()),
                host_slots=self._config.webhook_host_slots,
                owner_slots=self._config.webhook_owner_slots,
                hosts=dict(self._hosts),
                owners=dict(self._owners),
                slow=frozenset(self._slow),
            )

    def _under_way(self) -> int:
        with self._lock:
            return self._hosts.total()

    def _begin(self, claim: DeliveryClaim) -> None:
        host, owner = host_of(claim.delivery.url), claim.delivery.owner
        with self._lock:
            self._hosts[host] += 1
            self._owners[owner] += 1

        def run() -> None:
            try:
                self._deliver(claim, host)
            except Exception:
                log.exception("delivery %s: an attempt failed in us; it is repeated", claim.delivery.id)
            finally:
                with self._lock:
                    _count_down(self._hosts, host)
                    _count_down(self._owners, owner)
                self._ended.set()

        threading.Thread(target=run, name=f"deliver-{claim.delivery.id}", daemon=True).start()

    def _deliver(self, claim: DeliveryClaim, host: str) -> None:
        delivery = claim.delivery
        answer = self._attempt(claim)
        self._remember(host, answer)
        state = self._settle(claim, answer)
        attempt = answer.attempt
        log.log(
            logging.INFO if answer.taken else logging.WARNING,
            "delivery %s of %s to %s: %s in %d ms: %s",
            delivery.id,
            delivery.type,
            host,
            attempt.status or attempt.error,
            attempt.ms,
            state or "its attempt was taken over",
        )

    def _attempt(self, claim: DeliveryClaim) -> Answer:
        delivery, now = claim.delivery, time.time()
        try:
            body = self._message(claim).model_dump_json().encode()
        except (KeyError, ValueError):
            log.exception("delivery %s: the record of %s cannot be read", delivery.id, delivery.uid)
            detail = "The record of what it tells of cannot be read; the service's log has more."
            return Answer(Attempt(at=round(now * 1000), ms=0, error=InternalFault.code, detail=detail))
        return post(delivery.url, body, sign(delivery.id, int(now), body, claim.keys), self._reach)

    def _message(self, claim: DeliveryClaim) -> Payload:
        """What the receiver is told: the same in each attempt."""
        delivery = claim.delivery
        event, at, version = delivery.type, delivery.created_at, delivery.version
        match delivery.kind:
            case "job":
                return job_message(JobEvent(event), at, version, Job.from_hash(claim.record), self._base)
            case "batch":
                return batch_message(BatchEvent(event), at, version, claim.record, self._base)
            case _:
                return greeting_message(at)

    def _settle(self, claim: DeliveryClaim, answer: Answer) -> DeliveryState | None:
        """Write down what came of an attempt, for as long as it is ours; None when it is not any more."""
        outcome, delay = self._outcome(claim, answer)
        until = time.monotonic() + self._config.lease_seconds
        while True:
            try:
                return self._store.settle(claim, answer.attempt, outcome, delay)
            except DeliveryLostError:
                return None
            except StoreUnavailable:
                if time.monotonic() > until:
                    raise
                time.sleep(_SETTLE_PAUSE)

    def _outcome(self, claim: DeliveryClaim, answer: Answer) -> tuple[Outcome, float]:
        """What came of an attempt, and after how many seconds the next one is due, if there is one."""
        if answer.taken:
            return Outcome.DELIVERED, 0.0
        if answer.gone:
            return Outcome.GONE, 0.0
        delays, tries = self._config.webhook_delays, claim.delivery.tries
        if claim.delivery.kind == "test" or tries >= len(delays):
            return Outcome.FAILED, 0.0
        delay = delays[tries] * (1 + random.random() * JITTER)
        return Outcome.AGAIN, max(delay, answer.retry_after)

    def _remember(self, host: str, answer: Answer) -> None:
        """Whether a host is slow. One that refuses at once is not."""
        with self._lock:
            if answer.attempt.ms < SLOW_SECONDS * 1000:
                self._slow.pop(host, None)
                return
            self._slow[host] = None
            if len(self._slow) > MAX_SLOW:
                self._slow.popitem(last=False)

    def _drop_ended(self) -> None:
        now = time.monotonic()
        if now - self._dropped_at < _DROP_SECONDS:
            return
        if self._store.drop_ended(_DROP_LIMIT) < _DROP_LIMIT:
            self._dropped_at = now


def _count_down(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]

"""Deliveries to real receivers, that take them, refuse them, lie, hang or are not there."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.ports import free_port
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import Delivery, DeliveryState
from shared.jobs.record import Job, Webhook
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.certificates import Authority
from tests.support.jobs import claim_paint, finish, new_job
from tests.support.receiver import Receiver
from tests.support.waiting import wait_for
from tests.support.web import Answer, Exchange, Web, drip, hang, in_turn, redirect, status
from worker.chores import deliverer, receiver
from worker.chores.deliverer import Deliverer
from worker.chores.loop import Loop
from worker.chores.receiver import LONGEST_WAIT, post, reach_of

BASE = "https://impasto.example.org"


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(
        redis_url=valkey,
        redis_timeout=20,
        data_dir=tmp_path,
        trusted_networks="127.0.0.0/8",
        public_url=f"{BASE}/",
        webhook_delays="0,0.05,0.1",
        webhook_seconds=20,
    )


class Post:
    """A job store, a deliverer, and what came of it."""

    def __init__(self, client: redis.Redis, config: Settings, exits: ExitStack) -> None:
        self.store, self.deliveries = JobStore(client, config), DeliveryStore(client, config)
        self.config, self._exits = config, exits

    def start(self, **settings: Any) -> Deliverer:
        """Deliver from now on."""
        config = self.config.model_copy(update=settings)
        draining = threading.Event()
        made = Deliverer(DeliveryStore(self._exits.enter_context(connect(config)), config), config, draining)
        loop = Loop("webhooks", made.step, draining, idle_seconds=0.02, finish=made.finish)
        loop.start()
        self._exits.callback(loop.join)
        self._exits.callback(draining.set)
        return made

    def ended(self, url: str, **changes: Any) -> Job:
        """A job that has ended, of which one event is to be told."""
        job = self.store.submit(new_job(webhook=Webhook(url), **changes)).job
        return self.store.cancel(job.owner, job.id)

    def of(self, job: Job) -> Delivery:
        """The delivery of a job that has one."""
        [found] = self.deliveries.of("job", job.uid)
        return found

    def until(self, job: Job, state: DeliveryState) -> Delivery:
        """The delivery, once it is in this state."""
        return wait_for(
            lambda: found if (found := self.of(job)).state is state else None, f"{job.uid}: {state}"
        )

    def tried(self, job: Job, attempts: int = 1) -> Delivery:
        """The delivery, once so many attempts have ended."""
        return wait_for(
            lambda: found if len((found := self.of(job)).attempts) >= attempts else None,
            f"{attempts} attempts of {job.uid}",
        )


@pytest.fixture
def box(redis_client: redis.Redis, config: Settings) -> Iterator[Post]:
    with ExitStack() as exits:
        yield Post(redis_client, config, exits)
    audit(redis_client)


def test_a_job_is_told_of_as_standard_webhooks_has_it(box: Post, web: Web) -> None:
    taken = Receiver(web)
    job = box.store.submit(new_job(skip_intake=True, webhook=Webhook(taken.url), metadata={"a": "b"})).job
    finish(box.store, claim_paint(box.store))
    box.start()
    wait_for(lambda: len(taken.got) == 2, "both events")
    [secret] = box.deliveries.secrets("ann")
    events = {message.verified(secret.text)["type"]: message for message in taken.got}
    assert set(events) == {"job.processing", "job.succeeded"}
    message = events["job.succeeded"]
    assert (message.method, message.headers["content-type"]) == ("POST", "application/json")
    assert abs(int(message.headers["webhook-timestamp"]) - time.time()) < 200
    data = message.event["data"]
    assert (data["id"], data["metadata"], data["output"]["bytes"]) == (job.id, {"a": "b"}, 9)
    assert data["urls"]["self"] == f"{BASE}/v1/jobs/{job.id}"
    assert data["version"] > events["job.processing"].event["data"]["version"]
    for delivery in box.deliveries.of("job", job.uid):
        wait_for(lambda: box.deliveries.get("ann", delivery.id).state == "delivered", "the log")  # noqa: B023


def test_every_attempt_sends_the_same_message_under_the_same_id(box: Post, web: Web) -> None:
    took = Receiver(web, answer=in_turn(status(500, b"not  yet\n\x00"), status(503), status(200, b"ok")))
    job = box.ended(took.url)
    box.start()
    delivery = box.until(job, DeliveryState.DELIVERED)
    assert [(a.status, a.excerpt) for a in delivery.attempts] == [(500, "not yet"), (503, None), (200, "ok")]
    assert len({(message.id, message.body) for message in took.got}) == 1
    assert len(took.got) == 3
    [secret] = box.deliveries.secrets("ann")
    for message in took.got:
        message.verified(secret.text)


def test_old_and_new_secret_both_verify_after_a_rotation(box: Post, web: Web) -> None:
    took = Receiver(web)
    old = box.deliveries.secrets("ann")[0].text
    new = box.deliveries.rotate("ann")[0].text
    box.ended(took.url)
    box.start()
    wait_for(lambda: took.got, "the message")
    assert took.got[0].verified(old) == took.got[0].verified(new)


def test_a_redirect_is_not_followed_and_counts_as_a_failure(box: Post, web: Web) -> None:
    other = Receiver(web, "/other")
    job = box.ended(web.route("/hook", redirect(other.url, 307)))
    box.start()
    delivery = box.until(job, DeliveryState.FAILED)
    assert [attempt.status for attempt in delivery.attempts] == [307] * 3
    assert other.got == []


def test_a_receiver_that_is_gone_is_not_asked_again(box: Post, web: Web) -> None:
    gone = Receiver(web, answer=status(410))
    job = box.ended(gone.url)
    box.start()
    box.until(job, DeliveryState.DISABLED)
    assert len(gone.got) == 1
    assert box.store.get("ann", job.id).webhook_off


def in_an_hour() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("900", 900),
        ("999999999", LONGEST_WAIT),
        (in_an_hour, 3600),
        ("soon", 0.05),
        ("-5", 0.05),
        (f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", 0.05),
    ],
    ids=["seconds", "too long", "date", "no time", "negative", "beyond all dates"],
)
def test_a_receiver_is_left_alone_for_as_long_as_it_asks_within_bounds(
    box: Post, web: Web, asked: str | Callable[[], str], seconds: float
) -> None:
    header = asked if isinstance(asked, str) else asked()
    job = box.ended(Receiver(web, answer=status(429, Retry_After=header)).url)
    box.start(webhook_delays=(0.0, 0.05))
    if seconds < 1:
        box.until(job, DeliveryState.FAILED)
        return
    delivery = box.tried(job)
    assert delivery.due_at is not None
    assert seconds - 60 < delivery.due_at - delivery.attempts[0].at / 1000 < seconds + 120


def nobody(_: Web) -> str:
    return f"http://127.0.0.1:{free_port()}/"


def nonsense(web: Web) -> str:
    def answer(exchange: Exchange) -> None:
        exchange.wfile.write(b"this is not HTTP\r\n\r\n")
        exchange.close_connection = True

    return web.route("/nonsense", answer)


def private(_: Web) -> str:
    return "http://10.1.2.3/"


@pytest.mark.parametrize(
    ("where", "code"),
    [
        (nobody, "fetch_unreachable"),
        (nonsense, "fetch_unreachable"),
        (private, "fetch_refused"),
    ],
    ids=["nobody", "nonsense", "private"],
)
def test_what_cannot_be_reached_is_tried_on_schedule_and_given_up(
    box: Post, web: Web, where: Callable[[Web], str], code: str
) -> None:
    job = box.ended(where(web))
    box.start()
    delivery = box.until(job, DeliveryState.FAILED)
    assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [(None, code)] * 3
    assert all(attempt.detail for attempt in delivery.attempts)
    assert box.store.tally().abandoned == 1


def test_an_untrusted_network_is_not_connected_to(box: Post, web: Web) -> None:
    took = Receiver(web)
    job = box.ended(took.url)
    box.start(trusted_networks=(), fetch_ports=frozenset({web.port}))
    assert {attempt.error for attempt in box.until(job, DeliveryState.FAILED).attempts} == {"fetch_refused"}
    assert web.seen == []


def test_a_name_is_looked_up_and_checked_when_something_is_sent(web: Web, config: Settings) -> None:
    took = Receiver(web)
    url = took.url.replace("127.0.0.1", "receiver.example.org")
    reach = reach_of(config)
    inside = replace(reach, trusted=(), ports=frozenset({web.port}), resolve=lambda *_: ["127.0.0.1"])
    assert post(url, b"{}", {}, inside).attempt.error == "fetch_refused"
    assert web.seen == []
    assert post(url, b"{}", {}, replace(reach, resolve=lambda *_: ["127.0.0.1"])).taken
    assert web.seen[0].headers["Host"] == f"receiver.example.org:{web.port}"


def test_a_certificate_must_be_valid_for_the_name(config: Settings, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Web(tls=authority.serving("receiver.example.org")) as web:
        took = Receiver(web)
        reach = replace(reach_of(config), resolve=lambda *_: ["127.0.0.1"], tls=authority.trusting())
        good, other = (
            f"https://{name}:{web.port}/hook" for name in ("receiver.example.org", "other.example.org")
        )
        assert post(good, b"{}", {}, reach).taken
        assert post(other, b"{}", {}, reach).attempt.error == "fetch_failed"
        assert len(took.got) == 1


@pytest.mark.parametrize(
    ("answer", "excerpt"),
    [(status(200, b"x" * 100_000), "x" * 200), (drip(b"slow" * 100, every=0.2), None)],
    ids=["long", "slow"],
)
def test_of_the_answer_only_the_beginning_is_read(
    web: Web, config: Settings, monkeypatch: pytest.MonkeyPatch, answer: Answer, excerpt: str | None
) -> None:
    monkeypatch.setattr(receiver, "_EXCERPT_SECONDS", 0.5)
    came = post(Receiver(web, answer=answer).url, b"{}", {}, reach_of(config))
    assert came.taken
    assert came.attempt.excerpt
    assert came.attempt.excerpt == excerpt or (excerpt is None and len(came.attempt.excerpt) < 200)


def test_an_attempt_ends_when_its_time_is_over(web: Web, config: Settings) -> None:
    reach = replace(reach_of(config), seconds=0.5)
    came = post(Receiver(web, answer=hang).url, b"{}", {}, reach)
    assert (came.attempt.status, came.attempt.error) == (None, "fetch_unreachable")
    assert came.attempt.ms >= 400


def test_a_receiver_that_hangs_delays_nobody_else(box: Post) -> None:
    with Web() as slow, Web() as quick:
        stuck, took = Receiver(slow, answer=hang), Receiver(quick)
        hung = [box.ended(stuck.url) for _ in range(20)]
        for _ in range(50):
            box.ended(took.url)
        box.start(webhook_seconds=120.0)  # longer than all that follows may take
        wait_for(lambda: len(took.got) == 50, "50 deliveries past a receiver that hangs", 100)
        # Meanwhile the other one is still being waited for, by as many as one host may have.
        slots = box.config.webhook_host_slots
        wait_for(lambda: len(stuck.got) == slots, "as many to have come to it")
        assert all(not box.of(job).attempts for job in hung)
        slow.closing.set()


def test_a_host_that_was_slow_is_asked_once_at_a_time_until_it_is_quick(
    box: Post, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "SLOW_SECONDS", 0.2)
    under_way, most, lock = 0, [0], threading.Lock()

    def lingering(exchange: Exchange) -> None:
        nonlocal under_way
        with lock:
            under_way += 1
            most[-1] = max(most[-1], under_way)
        exchange.web.closing.wait(0.4)
        with lock:
            under_way -= 1
        exchange.reply(204)

    took = Receiver(web, answer=lingering)
    made = box.start()
    first = box.ended(took.url)
    box.until(first, DeliveryState.DELIVERED)
    most.append(0)
    for job in [box.ended(took.url) for _ in range(4)]:
        box.until(job, DeliveryState.DELIVERED)
    assert most[-1] == 1
    took.answer = status(204)

    def quick_again() -> bool:
        # One that this machine holds up counts as slow, too.
        box.until(box.ended(took.url), DeliveryState.DELIVERED)
        return not made._slow

    wait_for(quick_again, "the host to be quick again")


def test_who_leaves_waits_for_what_is_under_way(box: Post, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "LEAVING_SECONDS", 60.0)
    held, go_on = threading.Event(), threading.Event()

    def answer(exchange: Exchange) -> None:
        held.set()
        go_on.wait(60)
        exchange.reply(204)

    job = box.ended(Receiver(web, answer=answer).url)
    made = box.start()
    assert held.wait(60)
    leaving = threading.Thread(target=made.finish)
    leaving.start()
    leaving.join(0.3)
    assert leaving.is_alive()
    go_on.set()
    leaving.join(60)
    assert box.of(job).state is DeliveryState.DELIVERED


def test_a_record_that_cannot_be_read_is_no_endless_loop(
    box: Post, redis_client: redis.Redis, web: Web
) -> None:
    took = Receiver(web)
    job = box.ended(took.url)
    redis_client.hset(f"im:job:{job.uid}", "metadata", "{garbage")
    box.start()
    assert {attempt.error for attempt in box.until(job, DeliveryState.FAILED).attempts} == {"internal"}
    assert took.got == []
    redis_client.hset(f"im:job:{job.uid}", "metadata", "{}")


def test_a_test_is_sent_once(box: Post, web: Web) -> None:
    took = Receiver(web, answer=status(500))
    made = box.deliveries.try_receiver("ann", took.url)
    box.start()
    found = wait_for(
        lambda: one if (one := box.deliveries.get("ann", made.id)).state == "failed" else None, "the test"
    )
    assert [attempt.status for attempt in found.attempts] == [500]
    assert took.types() == ["webhook.test"]
    took.got[0].verified(box.deliveries.secrets("ann")[0].text)

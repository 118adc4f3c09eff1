"""Fault 22: a webhook's receiver is down, fails or redirects; and what sends to it dies in the middle."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.ports import free_port
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import Delivery, DeliveryState
from shared.jobs.record import Job, Queue, Webhook
from tests.support.proxy import black_hole, pass_on
from tests.support.receiver import Receiver
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.waiting import wait_for
from tests.support.web import Exchange, Web, hang, in_turn, redirect, status

#: Seconds before each attempt: some follow quickly, then there is time.
DELAYS = "0,0.2,0.2,1.5,1.5,1.5,3,3,3,3"


class Sender:
    """A rig that delivers."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.deliveries = DeliveryStore(rig.client, rig.config)

    def ended(self, url: str) -> Job:
        """A job that has ended, of which one event is to be told."""
        job = self.rig.submit_urls(
            "http://127.0.0.1:9/a.png", "http://127.0.0.1:9/b.png", webhook=Webhook(url)
        )
        return self.rig.store.cancel(job.owner, job.id)

    def of(self, job: Job) -> Delivery:
        """Its delivery."""
        [found] = self.deliveries.of("job", job.uid)
        return found

    def until(self, job: Job, state: DeliveryState) -> Delivery:
        """Its delivery, once it is in this state."""
        return wait_for(
            lambda: found if (found := self.of(job)).state is state else None, f"{job.uid}: {state}"
        )

    def attempted(self, job: Job, attempts: int) -> Delivery:
        """Its delivery, once so many attempts have ended."""
        return wait_for(
            lambda: found if len((found := self.of(job)).attempts) >= attempts else None,
            f"{attempts} attempts",
        )

    def secret(self) -> str:
        return self.deliveries.secrets("ann")[0].text


def sender(tmp_path: Path, **settings: Any) -> Rig:
    return Rig(tmp_path, **{**SHORT_LEASE, "webhook_delays": DELAYS, "webhook_seconds": 10, **settings})


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Sender]:
    with sender(tmp_path) as rig:
        yield Sender(rig)
        rig.audit()


@pytest.mark.fault(22)
def test_a_receiver_that_is_down_then_fails_is_told_once_it_is_well(post: Sender) -> None:
    post.rig.worker(Queue.CHORES)
    port = free_port()
    job = post.ended(f"http://127.0.0.1:{port}/hook")
    assert {attempt.error for attempt in post.attempted(job, 2).attempts} == {"fetch_unreachable"}
    with Web(port=port) as web:
        took = Receiver(web, answer=in_turn(status(500), status(503), status(204)))
        delivery = post.until(job, DeliveryState.DELIVERED)
    assert [attempt.status for attempt in delivery.attempts][-3:] == [500, 503, 204]
    assert len({(message.id, message.body) for message in took.got}) == 1
    assert took.got[-1].verified(post.secret())["data"]["id"] == job.id


@pytest.mark.fault(22)
def test_a_redirect_to_a_private_address_leads_nowhere(tmp_path: Path, web: Web) -> None:
    with Web() as inside, sender(tmp_path, webhook_delays="0,0.2") as rig:
        post = Sender(rig)
        rig.worker(Queue.CHORES)
        inside.otherwise(status(200))
        for number, to in enumerate(
            (inside.url, "http://169.254.169.254/latest/meta-data", "http://10.0.0.1/")
        ):
            job = post.ended(web.route(f"/{number}", redirect(to, 307)))
            delivery = post.until(job, DeliveryState.FAILED)
            assert [attempt.status for attempt in delivery.attempts] == [307, 307]
        assert inside.seen == []
        rig.audit()


@pytest.mark.fault(22)
def test_an_address_that_is_private_is_not_connected_to(tmp_path: Path, web: Web) -> None:
    """The record may be older than the setting, or a name lead somewhere else by now."""
    web.otherwise(status(200))
    with sender(tmp_path, webhook_delays="0,0.2", trusted_networks="", fetch_ports=str(web.port)) as rig:
        post = Sender(rig)
        rig.worker(Queue.CHORES)
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            delivery = post.until(post.ended(f"http://{host}:{web.port}/"), DeliveryState.FAILED)
            assert {attempt.error for attempt in delivery.attempts} == {"fetch_refused"}
        assert web.seen == []
        rig.audit()


@pytest.mark.fault(22)
def test_a_worker_killed_in_mid_delivery_has_its_message_sent_again_under_the_same_id(
    post: Sender, web: Web
) -> None:
    held, killed = threading.Event(), threading.Event()

    def first(exchange: Exchange) -> None:
        _ = exchange.body
        held.set()
        killed.wait(60)
        exchange.close_connection = True

    took = Receiver(web, answer=in_turn(first, status(204)))
    worker = post.rig.worker(Queue.CHORES, webhook_seconds=5)
    job = post.ended(took.url)
    assert held.wait(60)
    worker.kill()
    killed.set()
    assert post.of(job).attempts == ()
    post.rig.worker(Queue.CHORES, webhook_seconds=5)
    delivery = post.until(job, DeliveryState.DELIVERED)
    assert (delivery.tries, [attempt.status for attempt in delivery.attempts]) == (2, [204])
    assert len(took.got) == 2
    assert len({(message.id, message.body) for message in took.got}) == 1


@pytest.mark.fault(22)
def test_the_schedule_survives_a_restart_of_redis_and_of_the_worker(post: Sender, web: Web) -> None:
    took = Receiver(web, answer=status(500))
    worker = post.rig.worker(Queue.CHORES)
    jobs = [post.ended(took.url) for _ in range(5)]
    for job in jobs:
        post.attempted(job, 3)
    worker.kill()
    post.rig.valkey.kill()
    post.rig.valkey.restart()
    took.answer = status(204)
    post.rig.worker(Queue.CHORES)
    for job in jobs:
        delivery = post.until(job, DeliveryState.DELIVERED)
        assert [attempt.status for attempt in delivery.attempts] == [500] * (len(delivery.attempts) - 1) + [
            204
        ]
    assert len({message.id for message in took.got}) == len(jobs)


@pytest.mark.fault(22)
def test_an_answer_that_comes_while_redis_is_away_is_written_down_once_it_is_back(
    tmp_path: Path, web: Web
) -> None:
    with sender(tmp_path, lease_seconds=30) as rig:
        post = Sender(rig)

        def answer(exchange: Exchange) -> None:
            rig.redis_proxy.rule = black_hole
            rig.redis_proxy.cut_all()
            exchange.reply(204)

        took = Receiver(web, answer=answer)
        worker = rig.worker(Queue.CHORES)
        job = post.ended(took.url)
        wait_for(lambda: took.got, "the message")
        wait_for(lambda: worker.said("webhooks has to wait"), "the outage to be noticed")
        rig.redis_proxy.rule = pass_on
        delivery = post.until(job, DeliveryState.DELIVERED)
        assert (len(took.got), delivery.tries) == (1, 1)
        rig.audit()


@pytest.mark.fault(22)
def test_a_worker_that_is_to_leave_is_not_held_by_a_receiver_that_hangs(post: Sender, web: Web) -> None:
    took = Receiver(web, answer=hang)
    worker = post.rig.worker(Queue.CHORES, webhook_seconds=30)
    job = post.ended(took.url)
    wait_for(lambda: took.got, "the message")
    worker.terminate()
    assert worker.wait(25) == 0
    assert worker.said("deliveries cut off, to be attempted again: 1")
    # It is due again when its lease ends.
    assert post.of(job).state is DeliveryState.WAITING

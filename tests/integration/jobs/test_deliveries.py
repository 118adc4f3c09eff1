"""What is to be told is written with the change that it tells of; how often and until when, follows."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis

from shared.errors import Conflict, InvalidRequest, NotFound, PictureUnreadable
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import (
    Attempt,
    Delivery,
    DeliveryClaim,
    DeliveryLostError,
    DeliveryState,
    Load,
    Outcome,
    host_of,
    line_of,
    message_id,
)
from shared.jobs.keys import Key
from shared.jobs.record import Job, Webhook
from shared.jobs.scripts import prelude
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, finish, new_job

URL = "https://hooks.example.org/impasto"
HOOK = Webhook(URL)
ATTEMPT = Attempt(at=1, ms=20, status=500, excerpt="no")
ROOM = Load(room=100, host_slots=100, owner_slots=100)


@pytest.fixture
def deliveries(config: Settings, clock: Clock) -> Iterator[DeliveryStore]:  # noqa: ARG001 - goes by it
    with connect(config) as client:
        yield DeliveryStore(client, config)


@pytest.fixture(autouse=True)
def everything_agrees_in_the_end(redis_client: redis.Redis, store: JobStore) -> None:  # noqa: ARG001
    yield
    audit(redis_client)


def submitted(store: JobStore, **changes: Any) -> Job:
    return store.submit(new_job(skip_intake=True, **{"webhook": HOOK, **changes})).job


def told(deliveries: DeliveryStore, job: Job) -> list[str]:
    """Types of the events of a job, in order."""
    return [delivery.type for delivery in reversed(deliveries.of("job", job.uid))]


def ended(store: JobStore, count: int = 1, **changes: Any) -> list[Job]:
    """Jobs that have ended, with one event to be told each."""
    jobs = [submitted(store, **changes) for _ in range(count)]
    for job in jobs:
        store.cancel(job.owner, job.id)
    return jobs


def one(deliveries: DeliveryStore) -> DeliveryClaim:
    """An attempt at the one delivery that is due."""
    [claim] = deliveries.claim(ROOM)
    return claim


def test_a_job_tells_when_painting_begins_and_when_it_has_succeeded(
    store: JobStore, deliveries: DeliveryStore
) -> None:
    job = submitted(store)
    assert told(deliveries, job) == []
    claim = claim_paint(store)
    assert told(deliveries, job) == ["job.processing"]
    finish(store, claim)
    finish(store, claim)
    assert told(deliveries, job) == ["job.processing", "job.succeeded"]
    versions = [delivery.version for delivery in deliveries.of("job", job.uid)]
    assert versions == sorted(versions, reverse=True)


def test_painting_that_begins_again_is_not_told_again(
    store: JobStore, deliveries: DeliveryStore, clock: Clock
) -> None:
    job = submitted(store)
    store.release(claim_paint(store))
    store.fail(claim_paint(store), UNSTORED)
    clock.advance(600)
    store.reap()
    claim_paint(store)
    assert told(deliveries, job) == ["job.processing"]


def fail(store: JobStore, clock: Clock) -> None:  # noqa: ARG001
    store.fail(claim_intake(store), PictureUnreadable("no picture"))


def cancel(store: JobStore, clock: Clock) -> None:  # noqa: ARG001
    for job in store.list("ann").jobs:
        store.cancel("ann", job.id)


def overdue(store: JobStore, clock: Clock) -> None:
    clock.advance(3601)
    store.reap()


@pytest.mark.parametrize(
    ("end", "event"),
    [(fail, "job.failed"), (cancel, "job.canceled"), (overdue, "job.expired")],
    ids=["fail", "cancel", "overdue"],
)
def test_every_other_end_is_told_too(
    store: JobStore,
    deliveries: DeliveryStore,
    clock: Clock,
    end: Callable[[JobStore, Clock], None],
    event: str,
) -> None:
    job = store.submit(new_job(webhook=HOOK)).job
    end(store, clock)
    assert told(deliveries, job) == [event]


def test_a_job_that_shares_anothers_painting_is_told_of_too(
    store: JobStore, deliveries: DeliveryStore
) -> None:
    leader, follower = submitted(store, fresh=False), submitted(store, fresh=False)
    finish(store, claim_paint(store))
    assert store.get("ann", follower.id).reused_from == leader.id
    assert told(deliveries, leader) == ["job.processing", "job.succeeded"]
    assert told(deliveries, follower) == ["job.succeeded"]


def test_only_the_events_that_are_wanted_are_told(store: JobStore, deliveries: DeliveryStore) -> None:
    job = submitted(store, webhook=Webhook(URL, ("job.succeeded",)))
    finish(store, claim_paint(store))
    assert told(deliveries, job) == ["job.succeeded"]


def test_a_job_without_a_webhook_leaves_nothing(store: JobStore, redis_client: redis.Redis) -> None:
    submitted(store, webhook=None)
    finish(store, claim_paint(store))
    assert redis_client.keys("im:deliver*") == []


def test_a_purged_job_takes_its_deliveries_along(
    store: JobStore, deliveries: DeliveryStore, redis_client: redis.Redis
) -> None:
    job = submitted(store)
    finish(store, claim_paint(store))
    held = deliveries.claim(ROOM)[0]
    store.purge("ann", job.id)
    assert redis_client.keys("im:deliver*") == [Key.DELIVERY_ORDER]
    with pytest.raises(DeliveryLostError):
        deliveries.settle(held, ATTEMPT, Outcome.AGAIN, 5)


def test_a_claim_has_all_that_an_attempt_needs(store: JobStore, deliveries: DeliveryStore) -> None:
    [job] = ended(store)
    claim = one(deliveries)
    assert Job.from_hash(claim.record) == store.by_uid(job.uid)
    assert claim.delivery.id == message_id(job.uid, "job.canceled")
    assert "." not in claim.delivery.id
    assert (claim.delivery.tries, claim.delivery.under_way) == (1, True)
    assert list(claim.keys) == [secret.text for secret in deliveries.secrets("ann")]


def test_one_that_is_held_is_not_due_until_its_lease_is_over(
    store: JobStore, deliveries: DeliveryStore, clock: Clock, config: Settings
) -> None:
    ended(store)
    first = one(deliveries)
    assert deliveries.claim(ROOM) == []
    clock.advance(config.webhook_seconds + config.lease_seconds + 1)
    second = one(deliveries)
    assert (second.delivery.id, second.delivery.tries) == (first.delivery.id, 2)
    with pytest.raises(DeliveryLostError):
        deliveries.settle(first, ATTEMPT, Outcome.DELIVERED)
    assert deliveries.settle(second, ATTEMPT, Outcome.DELIVERED) is DeliveryState.DELIVERED


def test_one_that_failed_is_due_again_after_its_delay(
    store: JobStore, deliveries: DeliveryStore, clock: Clock
) -> None:
    ended(store)
    deliveries.settle(one(deliveries), ATTEMPT, Outcome.AGAIN, 300)
    clock.advance(299)
    assert deliveries.claim(ROOM) == []
    clock.advance(2)
    again = one(deliveries)
    assert (again.delivery.tries, again.delivery.attempts) == (2, (ATTEMPT,))


def test_one_whose_next_attempt_would_come_after_the_job_is_gone_is_given_up(
    store: JobStore, deliveries: DeliveryStore, config: Settings
) -> None:
    ended(store)
    late = config.retention_seconds + 1
    assert deliveries.settle(one(deliveries), ATTEMPT, Outcome.AGAIN, late) is DeliveryState.FAILED
    tally = store.tally()
    assert (tally.delivered, tally.undelivered, tally.abandoned) == (0, 1, 1)


def test_that_a_job_has_succeeded_is_not_told_once_its_output_is_gone(
    redis_client: redis.Redis, config: Settings, deliveries: DeliveryStore
) -> None:
    store = JobStore(redis_client, config.model_copy(update={"output_seconds": 60.0}))
    submitted(store, webhook=Webhook(URL, ("job.succeeded",)))
    finish(store, claim_paint(store))
    assert deliveries.settle(one(deliveries), ATTEMPT, Outcome.AGAIN, 61) is DeliveryState.FAILED


def test_of_many_attempts_the_last_ones_are_kept(store: JobStore, deliveries: DeliveryStore) -> None:
    [job] = ended(store)
    for number in range(25):
        deliveries.settle(one(deliveries), Attempt(at=number, ms=1), Outcome.AGAIN)
    [delivery] = deliveries.of("job", job.uid)
    assert [attempt.at for attempt in delivery.attempts] == list(range(5, 25))


def test_a_receiver_that_is_gone_is_told_no_more_of_this_job_and_goes_on_with_others(
    store: JobStore, deliveries: DeliveryStore
) -> None:
    job, other = submitted(store), submitted(store)
    claim = claim_paint(store)
    assert claim.job.id == job.id
    [attempt] = deliveries.claim(ROOM)
    version = store.get("ann", job.id).version
    assert deliveries.settle(attempt, Attempt(at=1, ms=2, status=410), Outcome.GONE) is DeliveryState.DISABLED
    assert store.get("ann", job.id).webhook_off
    assert store.get("ann", job.id).version > version
    finish(store, claim)
    assert told(deliveries, job) == ["job.processing"]
    store.cancel("ann", other.id)
    assert told(deliveries, other) == ["job.canceled"]


def test_what_else_of_the_job_waits_to_be_told_is_not_told_to_one_that_is_gone(
    store: JobStore, deliveries: DeliveryStore
) -> None:
    job = submitted(store)
    finish(store, claim_paint(store))
    first, second = deliveries.claim(ROOM)
    deliveries.settle(first, ATTEMPT, Outcome.GONE)
    states = {delivery.state for delivery in deliveries.of("job", job.uid)}
    assert states == {DeliveryState.DISABLED}
    assert deliveries.settle(second, ATTEMPT, Outcome.AGAIN, 5) is DeliveryState.DISABLED


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.FAILED, Outcome.GONE])
def test_a_delivery_is_sent_again_on_demand_with_the_whole_schedule_before_it(
    store: JobStore, deliveries: DeliveryStore, outcome: Outcome
) -> None:
    [job] = ended(store)
    claim = one(deliveries)
    with pytest.raises(Conflict):
        deliveries.redeliver("ann", claim.delivery.id)
    deliveries.settle(claim, ATTEMPT, outcome)
    with pytest.raises(NotFound):
        deliveries.redeliver("bob", claim.delivery.id)
    assert deliveries.claim(ROOM) == []
    assert deliveries.redeliver("ann", claim.delivery.id).state is DeliveryState.WAITING
    again = one(deliveries)
    assert (again.delivery.id, again.delivery.tries) == (claim.delivery.id, 1)
    assert told(deliveries, job) == ["job.canceled"]


def test_hosts_and_owners_have_no_more_under_way_than_they_may(
    store: JobStore, deliveries: DeliveryStore
) -> None:
    for number in range(4):
        for owner in ("ann", "bob"):
            ended(store, 4, owner=owner, webhook=Webhook(f"https://h{number}.example.org:443/{owner}"))
    load = Load(
        room=100, host_slots=3, owner_slots=5, owners={"bob": 2}, slow=frozenset({"h1.example.org:443"})
    )
    claims = deliveries.claim(load)
    hosts, owners = [host_of(claim.delivery.url) for claim in claims], [c.delivery.owner for c in claims]
    assert max(map(hosts.count, hosts)) == 3
    assert hosts.count("h1.example.org:443") <= 1
    assert (owners.count("ann"), owners.count("bob")) == (5, 3)


def test_those_behind_a_crowd_that_may_not_be_sent_have_their_turn(
    store: JobStore, deliveries: DeliveryStore, clock: Clock
) -> None:
    for number in range(300):
        ended(store, owner="ann", webhook=Webhook(f"https://h{number}.example.org/"))
        clock.advance(0.01)
    [last] = ended(store, owner="bob", webhook=Webhook("https://other.example.org/"))
    load = Load(room=10, host_slots=1, owner_slots=1, owners={"ann": 1})
    found: list[str | None] = []
    for _ in range(4):
        found += [claim.delivery.uid for claim in deliveries.claim(load)]
    assert found == [last.uid]
    clock.advance(2)
    assert len(deliveries.claim(ROOM)) == 100


def test_python_and_the_scripts_name_lines_alike(store: JobStore, redis_client: redis.Redis) -> None:
    urls = (
        "https://Example.ORG",
        "http://a.example.org:8080?x=1",
        "https://[2606:2800::1]:443/h",
        "http://b.c/#x",
    )
    for number, url in enumerate(urls):
        ended(store, owner=f"o {number}:x", webhook=Webhook(url))
    expected = {line_of(url, f"o {number}:x") for number, url in enumerate(urls)}
    assert set(redis_client.zrange(Key.DELIVERIES, 0, -1)) == expected


def test_pages_hold_every_delivery_once_and_can_be_narrowed(
    store: JobStore, deliveries: DeliveryStore, redis_client: redis.Redis
) -> None:
    jobs = ended(store, 7)
    for job in jobs[5:]:
        redis_client.hset(Key.DELIVERY + message_id(job.uid, "job.canceled"), "batch", "batch_1")
    ended(store, 1, owner="bob")
    claims = {claim.delivery.uid: claim for claim in deliveries.claim(ROOM)}
    deliveries.settle(claims[jobs[0].uid], ATTEMPT, Outcome.DELIVERED)
    found: list[str | None] = []
    token = None
    for _ in range(4):
        page = deliveries.page("ann", limit=2, page_token=token)
        found += [delivery.uid for delivery in page.deliveries]
        token = page.next_token
    assert token is None
    assert found == [job.uid for job in reversed(jobs)]
    only = deliveries.page("ann", state=DeliveryState.DELIVERED).deliveries
    assert [delivery.uid for delivery in only] == [jobs[0].uid]
    batch = deliveries.page("ann", batch="batch_1").deliveries
    assert {delivery.uid for delivery in batch} == {job.uid for job in jobs[5:]}
    with pytest.raises(InvalidRequest):
        deliveries.page("ann", page_token="none of ours")


def test_a_test_is_kept_for_the_retention_time(
    deliveries: DeliveryStore, clock: Clock, config: Settings, redis_client: redis.Redis
) -> None:
    made = deliveries.try_receiver("ann", URL)
    deliveries.settle(one(deliveries), ATTEMPT, Outcome.FAILED)
    assert deliveries.drop_ended(10) == 0
    clock.advance(config.retention_seconds + 1)
    assert deliveries.drop_ended(10) == 1
    with pytest.raises(NotFound):
        deliveries.get("ann", made.id)
    assert redis_client.keys("im:deliver*") == [Key.DELIVERY_ORDER]


def test_a_secret_stays_until_it_is_rotated_and_signs_for_a_day_after(
    deliveries: DeliveryStore, redis_client: redis.Redis, clock: Clock
) -> None:
    [first] = deliveries.secrets("ann")
    assert deliveries.secrets("ann") == [first]
    assert deliveries.secrets("bob") != [first]
    new, old = deliveries.rotate("ann")
    assert old.text == first.text
    assert old.ends == clock.now / 1000 + 86_400
    assert new.ends is None
    clock.advance(86_401)
    newest, before = deliveries.rotate("ann")
    assert before.text == new.text
    kept = json.loads(redis_client.get(f"{Key.WEBHOOK_SECRETS}ann"))
    assert [secret["secret"] for secret in kept] == [newest.text, new.text]


def test_no_more_secrets_sign_than_fit_a_header(deliveries: DeliveryStore) -> None:
    for _ in range(20):
        deliveries.rotate("ann")
    assert len(deliveries.secrets("ann")) == 11


def test_a_batchs_few_deliveries_among_many_are_found_in_few_looks(
    store: JobStore,
    deliveries: DeliveryStore,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = ended(store, 30)
    for job in jobs[:2]:
        redis_client.hset(Key.DELIVERY + message_id(job.uid, "job.canceled"), "batch", "batch_1")
    looks: list[int] = []
    read = deliveries._read

    def counted(ids: Sequence[str]) -> list[Delivery | None]:
        looks.append(len(ids))
        return read(ids)

    monkeypatch.setattr(deliveries, "_read", counted)
    page = deliveries.page("ann", batch="batch_1", limit=1)
    assert [delivery.uid for delivery in page.deliveries] == [jobs[1].uid]
    assert looks == [30]
    rest = deliveries.page("ann", batch="batch_1", limit=1, page_token=page.next_token)
    assert [delivery.uid for delivery in rest.deliveries] == [jobs[0].uid]
    assert rest.next_token is None
    monkeypatch.setattr("shared.jobs.deliveries.MAX_LOOKED_AT", 7)
    token, found = None, list[str | None]()
    for _ in range(5):
        page = deliveries.page("ann", batch="batch_1", page_token=token)
        found += [delivery.uid for delivery in page.deliveries]
        token = page.next_token
    assert (token, found) == (None, [jobs[1].uid, jobs[0].uid])


def test_a_batch_tells_that_it_has_ended_and_is_gone_with_its_deliveries(
    deliveries: DeliveryStore, redis_client: redis.Redis, clock: Clock
) -> None:
    """Given what the scripts of batches will call, since they call it from Lua."""
    batch = {"uid": "batch_1", "id": "batch_1", "owner": "ann", "version": "7", "schema": "4"}
    batch |= {
        "webhook": f'{{"url":"{URL}","events":["batch.completed"]}}',
        "expires_at": str(clock.now + 10_000),
    }
    redis_client.hset(f"{Key.BATCH}batch_1", mapping=batch)

    def call(text: str) -> None:
        shared = prelude()
        redis_client.eval(
            f"#!lua\n{shared}\nlocal batch = arg.batch\n{text}", 0, f'{{"batch": {json.dumps(batch)}}}'
        )

    for event in ("batch.completed", "batch.completed", "batch.failed"):
        call(f"tell_batch_receiver(batch, '{event}', now())")
    claim = one(deliveries)
    assert (claim.delivery.type, claim.delivery.version, claim.record) == ("batch.completed", 7, batch)
    assert [found.type for found in deliveries.of("batch", "batch_1")] == ["batch.completed"]
    deliveries.settle(claim, ATTEMPT, Outcome.DELIVERED)
    call("tell_batch_receiver(batch, 'batch.completed', now())")
    assert deliveries.claim(ROOM) == [], "what was told once is not told again"
    deliveries.redeliver("ann", claim.delivery.id)
    deliveries.settle(one(deliveries), ATTEMPT, Outcome.GONE)
    assert redis_client.hget(f"{Key.BATCH}batch_1", "webhook_off") == "1"
    call("forget_deliveries('batch', batch)")
    redis_client.delete(f"{Key.BATCH}batch_1")
    assert redis_client.keys("im:deliver*") == [Key.DELIVERY_ORDER]

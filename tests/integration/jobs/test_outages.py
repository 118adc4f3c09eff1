"""A server that dies, freezes, forgets or is full; here the store goes by the server's own clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.results import LeaseLostError
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, clean, finish, new_job
from tests.support.rig import PRODUCTION
from tests.support.valkey import ValkeyServer, start_valkey

#: Of those that wait for a server that answers, however slow it is, and of one that waits in vain.
PATIENCE, TIMEOUT = 20, 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = start_valkey(tmp_path / "valkey", options=PRODUCTION)
    yield server
    server.kill()


@pytest.fixture
def own_store(server: ValkeyServer) -> Iterator[JobStore]:
    with waiting(server, PATIENCE) as store:
        yield store


@contextmanager
def waiting(server: ValkeyServer, seconds: float) -> Iterator[JobStore]:
    """A store whose calls wait for so long. Leases are short."""
    config = Settings(redis_url=server.url, redis_timeout=1, lease_seconds=2, retry_delay=0.1)
    with connect(config.model_copy(update={"redis_timeout": seconds})) as client:
        yield JobStore(client, config)


def test_a_killed_server_comes_back_with_every_job_and_learns_the_scripts_again(
    own_store: JobStore, server: ValkeyServer
) -> None:
    own_store.submit(new_job())
    own_store.submit(new_job(skip_intake=True))
    claim = claim_paint(own_store)
    for _ in range(3):
        server.kill()
        server.restart()
        assert own_store.counts()["processing"] == 1
        own_store.renew(claim)
    finish(own_store, claim)
    own_store.advance(claim_intake(own_store), clean("a"), [clean("b")], {})
    finish(own_store, claim_paint(own_store))
    assert own_store.counts()["succeeded"] == 2
    audit(own_store._redis)


def test_a_frozen_server_is_unavailable_within_twice_the_timeout(
    own_store: JobStore, server: ValkeyServer
) -> None:
    with waiting(server, TIMEOUT) as hasty:
        hasty.submit(new_job())
        server.freeze()
        try:
            for _ in "a connection that was open", "a new one":
                started = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    hasty.submit(new_job())
                assert time.monotonic() - started < PATIENCE
        finally:
            server.thaw()
    own_store.submit(new_job())


def test_a_server_that_is_gone_is_unavailable_at_once(own_store: JobStore, server: ValkeyServer) -> None:
    job = own_store.submit(new_job()).job
    server.kill()
    started = time.monotonic()
    for call in (
        lambda: own_store.submit(new_job()),
        lambda: own_store.get("ann", job.id),
        lambda: own_store.by_uid(job.uid),
        lambda: own_store.list("ann"),
        lambda: own_store.claim(Queue.INTAKE, "intake-1"),
        own_store.counts,
        own_store.depths,
        own_store.reap,
    ):
        with pytest.raises(StoreUnavailable):
            call()
    assert time.monotonic() - started < PATIENCE


def test_a_full_server_takes_no_job_but_lets_those_it_has_end(own_store: JobStore) -> None:
    for _ in range(8):
        own_store.submit(new_job(skip_intake=True))
    own_store.submit(new_job())
    before = own_store.counts()
    own_store._redis.config_set("maxmemory", "1mb")
    with pytest.raises(StoreUnavailable):
        own_store.submit(new_job())
    with pytest.raises(StoreUnavailable):
        own_store.hold("a" * 64)
    assert own_store.counts() == before

    own_store.advance(claim_intake(own_store), clean("a"), [clean("b")], {})
    claims = [claim_paint(own_store) for _ in range(5)]
    own_store.renew(claims[0])
    finish(own_store, claims[0])
    own_store.fail(claims[1], UNSTORED)
    own_store.release(claims[2])
    own_store.cancel("ann", claims[3].job.id)
    own_store.canceled(claims[3])
    own_store.reap()
    own_store.purge("ann", claims[0].job.id)
    audit(own_store._redis)


def test_the_servers_clock_ends_a_lease_and_a_back_off(own_store: JobStore) -> None:
    own_store.submit(new_job(skip_intake=True))
    lost = claim_paint(own_store)
    while not own_store.reap().requeued:  # the lease runs out
        time.sleep(0.01)
    with pytest.raises(LeaseLostError):
        own_store.renew(lost)
    job = own_store.fail(claim_paint(own_store), UNSTORED)
    while not own_store.reap().requeued:  # the back-off is over
        time.sleep(0.01)
    claim = claim_paint(own_store)
    assert claim.job.attempt == 3
    assert claim.job.started_at == job.started_at
    finish(own_store, claim)

"""Clients of the job store's Redis: whatever the URL says and however the server is reached."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.ports import free_port
from shared.errors import StoreUnavailable
from shared.jobs.store import JobStore
from shared.patience import patience
from shared.redis import connect, translated
from shared.settings import Settings
from tests.support.jobs import claim_paint, new_job
from tests.support.valkey import ValkeyServer, start_valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = start_valkey(tmp_path / "valkey", options=("--unixsocket", str(tmp_path / "socket")))
    yield server
    server.kill()


def polled(config: Settings) -> None:
    """Submit a job, poll it while it waits and while it is painted, and list it."""
    with connect(config) as client:
        store = JobStore(client, config)
        job = store.submit(new_job(skip_intake=True)).job
        assert store.look("ann", job.id, job) == (job, 1)
        claim_paint(store)
        painted, _ = store.look("ann", job.id, job)
        assert painted.status == "processing"
        assert store.look("ann", job.id, painted) == (painted, None)
        assert [one.id for one in store.list("ann").jobs] == [job.id]


@pytest.mark.parametrize(
    "options", ["protocol=3", "decode_responses=no", "max_connections=1", "socket_timeout=0"]
)
def test_what_the_code_relies_on_is_not_for_the_url_to_say(server: ValkeyServer, options: str) -> None:
    polled(Settings(redis_url=f"{server.url}?{options}", redis_timeout=20))


def test_a_connection_waits_as_long_as_whoever_uses_it_can(server: ValkeyServer) -> None:
    config = Settings(redis_url=server.url, redis_timeout=20)
    with connect(config) as client:
        store = JobStore(client, config)
        job = store.submit(new_job()).job  # nobody waits for these with a budget
        store.look("ann", job.id)
        server.freeze()
        for ask in (store.counts, lambda: store.look("ann", job.id)):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable), patience(1.0):
                ask()
            assert time.monotonic() - began < 20, "the connection's own timeout"
        server.thaw()
        store.counts()


def test_a_socket_in_the_file_system_will_do(server: ValkeyServer, tmp_path: Path) -> None:
    assert server.process.poll() is None
    polled(Settings(redis_url=f"unix://{tmp_path / 'socket'}", redis_timeout=20))


def test_a_replica_that_lost_its_master_is_an_outage(tmp_path: Path) -> None:
    server = start_valkey(tmp_path / "valkey", options=("--replica-serve-stale-data", "no"))
    try:
        with connect(Settings(redis_url=server.url, redis_timeout=20)) as client:
            client.replicaof("127.0.0.1", free_port())
            with pytest.raises(StoreUnavailable), translated():
                client.get("anything")
            with pytest.raises(StoreUnavailable):
                JobStore(client, Settings()).get("ann", "any")
    finally:
        server.kill()

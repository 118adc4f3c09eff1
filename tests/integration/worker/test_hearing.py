"""A worker hears bells wherever `IMPASTO_REDIS_URL` says that Redis is, as its other connections do."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from kombu import Connection

from shared.bells import message
from shared.celery_app import make_app
from shared.jobs.record import Queue
from shared.settings import Settings
from tests.support.certificates import Authority
from tests.support.tls import TlsFront
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for
from worker.hearing import Transport


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = start_valkey(tmp_path / "valkey", options=("--unixsocket", str(tmp_path / "socket")))
    yield server
    server.kill()


@pytest.fixture
def direct(server: ValkeyServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=60) as client:
        yield client


@contextmanager
def intake(url: str, folder: Path) -> Iterator[None]:
    """A worker of intake on the Redis at this address."""
    environ = {
        **os.environ,
        "IMPASTO_REDIS_URL": url,
        "IMPASTO_REDIS_TIMEOUT": "20",
        "IMPASTO_DATA_DIR": str(folder),
    }
    process = subprocess.Popen([sys.executable, "-m", "worker", "intake"], env=environ)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def hears(client: redis.Redis) -> None:
    """A bell is taken off its list."""
    client.rpush(Queue.INTAKE, message(Queue.INTAKE))
    wait_for(lambda: not client.exists(Queue.INTAKE), "the worker to take the bell")


@pytest.mark.parametrize(
    "options", ["health_check_interval=3&client_name=impasto", "protocol=3", "socket_timeout=0.01"]
)
def test_a_bell_is_heard_whatever_options_the_url_has(
    server: ValkeyServer, direct: redis.Redis, tmp_path: Path, options: str
) -> None:
    with intake(f"{server.url}?{options}", tmp_path):
        hears(direct)
        names = {client["name"] for client in direct.client_list() if client["cmd"] == "brpop"}
        assert names == {"impasto" if "client_name" in options else ""}


def test_a_bell_is_heard_over_a_socket_in_the_file_system(
    server: ValkeyServer, direct: redis.Redis, tmp_path: Path
) -> None:
    assert server.process.poll() is None
    with intake(f"unix://{tmp_path / 'socket'}?db=0", tmp_path):
        hears(direct)


def test_a_bell_is_heard_over_tls_from_a_server_that_is_trusted_and_from_no_other(
    server: ValkeyServer, direct: redis.Redis, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with TlsFront(server.port, authority.serving("127.0.0.1")) as front:
        with intake(f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={authority.bundle}", tmp_path):
            hears(direct)
        app = make_app(Settings(redis_url=f"rediss://127.0.0.1:{front.port}/0", redis_timeout=20))
        options = app.conf.broker_transport_options
        connection = Connection("redis://localhost", transport=Transport, transport_options=options)
        with connection, pytest.raises(redis.ConnectionError, match="verify failed"):
            connection.channel()

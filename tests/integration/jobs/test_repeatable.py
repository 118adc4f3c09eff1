"""Commands over connections that are kept: each has its own answer, whatever befell one before."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from shared.errors import StoreUnavailable
from shared.jobs.store import JobStore
from shared.redis import connect, translated
from shared.repeatable import Repeatable
from shared.settings import Settings
from tests.support.jobs import claim_paint, new_job
from tests.support.valkey import ValkeyServer, start_valkey

#: Of those that wait for a server that answers, however slow it is, and of one that waits in vain.
PATIENCE, TIMEOUT = 20, 3
THREADS, TIMES = 8, 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    server = start_valkey(tmp_path / "valkey")
    yield server
    server.kill()


@pytest.fixture
def config(server: ValkeyServer) -> Settings:
    return Settings(redis_url=server.url, redis_timeout=PATIENCE)


@pytest.fixture
def asker(config: Settings) -> Iterator[Repeatable]:
    with connect(config) as client:
        yield Repeatable(client)


def test_one_connection_serves_one_caller_and_a_reply_is_as_the_protocol_has_it(
    asker: Repeatable, config: Settings
) -> None:
    with connect(config) as client:
        client.hset("a", mapping={"x": "1", "y": "2"})
    assert asker.ask("HGETALL", "a") == ["x", "1", "y", "2"]
    assert len({asker.ask("CLIENT", "ID") for _ in range(5)}) == 1


def test_many_threads_have_each_its_own_answer(asker: Repeatable) -> None:
    def ask(thread: int) -> set[bool]:
        return {asker.ask("ECHO", f"{thread}.{n}") == f"{thread}.{n}" for n in range(TIMES)}

    with ThreadPoolExecutor(THREADS) as pool:
        assert set().union(*pool.map(ask, range(THREADS))) == {True}


def test_a_refused_command_ends_its_connection_unless_a_script_is_missing(asker: Repeatable) -> None:
    mine = asker.ask("CLIENT", "ID")
    with pytest.raises(redis.exceptions.NoScriptError):
        asker.ask("EVALSHA", "0" * 40, 0)
    assert asker.ask("CLIENT", "ID") == mine
    with pytest.raises(redis.ResponseError):
        asker.ask("NONSENSE")
    assert asker.ask("CLIENT", "ID") != mine


@pytest.mark.parametrize("way", ["restarted", "disconnected"])
def test_a_connection_that_was_closed_meanwhile_is_not_noticed(
    asker: Repeatable, server: ValkeyServer, config: Settings, way: str
) -> None:
    assert asker.ask("ECHO", "before") == "before"
    if way == "restarted":
        server.kill()
        server.restart()
    else:
        with connect(config) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert asker.ask("ECHO", "after") == "after"


def test_an_answer_that_comes_too_late_is_nobody_elses(config: Settings, server: ValkeyServer) -> None:
    with connect(config.model_copy(update={"redis_timeout": TIMEOUT})) as client:
        asker = Repeatable(client)
        assert asker.ask("ECHO", "before") == "before"
        server.freeze()
        try:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable), translated():
                asker.ask("ECHO", "too late")
            assert time.monotonic() - started < 20
        finally:
            server.thaw()
        assert asker.ask("ECHO", "after") == "after"


def test_a_caller_that_was_interrupted_leaves_no_answer_behind(
    asker: Repeatable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    assert asker.ask("ECHO", "before") == "before"
    kept = asker._idle[0]
    with monkeypatch.context() as patched:
        patched.setattr(kept, "read_response", interrupt)
        with pytest.raises(KeyboardInterrupt):
            asker.ask("ECHO", "unread")
    assert asker._idle[0] is kept
    assert asker.ask("ECHO", "after") == "after"


def test_a_child_process_has_connections_of_its_own(asker: Repeatable) -> None:
    mine = asker.ask("CLIENT", "ID")
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(theirs, str(asker.ask("CLIENT", "ID")).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        told = pipe.read()
    assert told.isdigit()
    assert int(told) != mine
    assert asker.ask("CLIENT", "ID") == mine


def test_a_server_that_is_gone_is_unavailable_at_once(asker: Repeatable, server: ValkeyServer) -> None:
    asker.ask("PING")
    server.kill()
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(StoreUnavailable), translated():
            asker.ask("PING")
    assert time.monotonic() - started < PATIENCE


def test_a_server_that_forgot_the_scripts_is_taught_again_and_polls_go_on(
    config: Settings,
) -> None:
    with connect(config) as client:
        store = JobStore(client, config)
        job = store.submit(new_job(skip_intake=True)).job
        for _ in range(2):
            assert store.look("ann", job.id, job) == (job, 1)
            client.script_flush()
        claim_paint(store)
        assert store.look("ann", job.id, job)[0].status == "processing"

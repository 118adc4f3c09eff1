"""What a job costs in Redis."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from shared.backbones import BACKBONES
from shared.jobs.keys import Key
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.record import PaintProgress
from shared.jobs.store import JobStore
from shared.spec import resolve
from tests.support.jobs import claim_intake, claim_paint, finish, new_job, sha256
from tests.support.valkey import ValkeyServer, start_valkey

JOBS = 1000
SPEC = resolve({"preset": "abstract", "size": 768, "seed": 7}, BACKBONES["compact"])
STYLE = Picture("https://pictures.example.org/styles/starry-night.jpg")


@pytest.fixture(scope="module", name="valkey_server")
def a_server_that_nothing_has_used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """What other tests have left behind in a server, tables that have grown say, is not counted."""
    server = start_valkey(tmp_path_factory.mktemp("valkey"), aof=False)
    yield server
    server.kill()


def job(number: int) -> NewJob:
    """One of many, as a caller with a catalogue sends them."""
    source = f"https://pictures.example.org/customers/4711/{number:06}-bridge-at-dawn.jpg"
    return new_job(
        spec=SPEC,
        content=Picture(source),
        styles=(STYLE,),
        metadata={"order": f"A-{number}"},
        body_hash=sha256(str(number)),
        batch_id="batch_01JZ0000000000000000000000",
        custom_id=f"picture-{number}",
    )


def kept(picture: Picture) -> Picture:
    digest = sha256(picture.source)
    return replace(picture, key=f"inputs/{digest}", sha256=digest, width=1920, height=1080)


def paint(store: JobStore) -> None:
    """The next job, from its source to its end."""
    intake = claim_intake(store)
    store.advance(intake, kept(intake.job.content), [kept(intake.job.styles[0])], {"fetch": 0.25})
    claim = claim_paint(store)
    progress = PaintProgress(430, 430, 2, 3, {"content": 0.1, "style": 0.2})
    store.renew(claim, progress, preview_key=f"previews/{claim.job.uid}")
    finish(store, claim)


def used(client: redis.Redis) -> int:
    """Bytes in use, but for the stream of changes, which is capped, and for what connections have."""
    client.client_kill_filter(_type="normal", skipme=True)
    memory: int = client.info("memory")["used_memory"]
    return memory - _of_changes(client)


def test_a_job_takes_less_than_3_kb_with_all_its_index_entries_and_its_own_input(
    store: JobStore, redis_client: redis.Redis
) -> None:
    store.submit(job(0))
    paint(store)  # the server knows the scripts from now on
    before = used(redis_client)
    for number in range(1, JOBS + 1):
        store.submit(job(number))
    waiting = (used(redis_client) - before) / JOBS
    for _ in range(JOBS):
        paint(store)
    ended = (used(redis_client) - before) / JOBS
    print(f"{waiting:.0f} bytes a job that waits, {ended:.0f} a job that has ended")
    assert waiting < 2300
    assert ended < 3000


def test_what_jobs_took_is_given_back_when_they_are_purged(
    store: JobStore, redis_client: redis.Redis
) -> None:
    def round_of_jobs() -> int:
        jobs = [store.submit(job(number)).job for number in range(JOBS)]
        for _ in jobs:
            paint(store)
        for one in jobs:
            store.purge(one.owner, one.id)
        return used(redis_client)

    round_of_jobs()  # after it, tables have the size that they keep
    growth = (round_of_jobs() - round_of_jobs()) / JOBS
    print(f"{-growth:.0f} bytes a purged job")
    assert abs(growth) < 50


def test_the_stream_of_changes_stays_within_20_mb(store: JobStore, redis_client: redis.Redis) -> None:
    """However many jobs there are: it keeps some 65 536 entries, whose size is looked at here."""
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    before = _of_changes(redis_client)
    for step in range(2000):
        store.renew(
            claim, PaintProgress(step, 4300, 2, 3, {"content": 0.123456, "style": 0.234567, "tv": 0.1})
        )
    each = (_of_changes(redis_client) - before) / 2000
    print(f"{each:.0f} bytes an entry")
    assert 65_536 * each < 20e6


def test_the_stream_of_changes_is_cut(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(skip_intake=True))
    with redis_client.pipeline(transaction=False) as pipeline:
        for _ in range(66_000):
            pipeline.xadd(Key.CHANGES, {"uid": "another", "version": 1, "status": "queued", "stage": ""})
        pipeline.execute()
    claim = claim_paint(store)
    assert redis_client.xlen(Key.CHANGES) < 65_536 + 200
    assert redis_client.xrevrange(Key.CHANGES, count=1)[0][1]["uid"] == claim.job.uid


def _of_changes(client: redis.Redis) -> int:
    return int(client.memory_usage(Key.CHANGES, samples=0) or 0)

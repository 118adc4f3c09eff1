"""What a job costs in Redis."""

import redis

from shared.jobs.keys import Key
from shared.jobs.record import PaintProgress, Picture
from shared.jobs.store import JobStore
from shared.spec import Spec
from tests.support.jobs import claim_paint, clean, finish, new_job

JOBS = 300
STYLE_LAYERS = {f"conv{block}_1": 0.2 for block in range(1, 6)}


def test_an_ended_job_takes_less_than_3_kb_with_all_its_index_entries(
    store: JobStore, redis_client: redis.Redis
) -> None:
    spec = Spec(backbone="compact", content_layers={"conv4_2": 1.0}, style_layers=STYLE_LAYERS)
    source = "https://pictures.example.org/customers/4711/bridge-at-dawn.jpg"
    picture = Picture(source, key=clean("a").key, sha256=clean("a").sha256, width=1920, height=1080)

    def run_a_job() -> None:
        store.submit(
            new_job(
                spec=spec, content=picture, styles=(picture,), skip_intake=True, metadata={"order": "A-17"}
            )
        )
        claim = claim_paint(store)
        progress = PaintProgress(430, 430, 2, 3, {"content": 0.1, "style": 0.2})
        store.renew(claim, progress, preview_key=f"previews/{claim.job.uid}")
        finish(store, claim)

    run_a_job()  # the server knows the scripts from now on
    before, told_before = redis_client.info("memory")["used_memory"], _of_changes(redis_client)
    for _ in range(JOBS):
        run_a_job()
    told = _of_changes(redis_client) - told_before
    each = (redis_client.info("memory")["used_memory"] - before - told) / JOBS
    print(f"{each:.0f} bytes a job, and {told / JOBS:.0f} of the stream of changes, which is capped")
    assert each < 3000


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

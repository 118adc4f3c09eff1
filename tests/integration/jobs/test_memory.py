"""What a job costs in Redis."""

import redis

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
    before = redis_client.info("memory")["used_memory"]
    for _ in range(JOBS):
        run_a_job()
    each = (redis_client.info("memory")["used_memory"] - before) / JOBS
    print(f"{each:.0f} bytes a job")
    assert each < 3000

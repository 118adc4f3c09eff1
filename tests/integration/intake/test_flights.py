"""One URL that several jobs want is fetched once: counted at a real server."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path

import pytest
import redis
from PIL import Image

from shared.errors import FetchFailed, FetchUnreachable
from shared.ids import new_id
from shared.jobs import flights
from shared.jobs.flights import LEASE_SECONDS, Awaiting, Fetching, Flight
from shared.jobs.keys import Key
from shared.jobs.pictures import Picture
from shared.jobs.record import Job, Stage, Status
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.jobs import claim_intake, new_job
from tests.support.waiting import wait_for
from tests.support.web import Answer, Exchange, Web, content, in_turn, status
from worker.intake import prepare as preparing
from worker.intake.prepare import IntakeAwaitsError, prepare
from worker.intake.task import Intake


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    trusted = (ip_network("127.0.0.0/8"),)
    return Settings(data_dir=tmp_path, redis_url=valkey, trusted_networks=trusted, redis_timeout=20)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No job is put aside, and none fetches again, while others fetch, however slow they are."""
    monkeypatch.setattr(preparing, "PATIENCE_SECONDS", 60.0)
    monkeypatch.setattr(flights, "LEASE_SECONDS", 60.0)
    monkeypatch.setattr(flights, "PASSING_SECONDS", 60.0)


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


class Gate:
    """Any answer, held back until the test opens it."""

    def __init__(self, answer: Answer) -> None:
        self.asked, self.open = threading.Event(), threading.Event()
        self._answer = answer

    def __call__(self, exchange: Exchange) -> None:
        self.asked.set()
        self.open.wait(60)
        self._answer(exchange)


def submit(store: JobStore, *urls: str, owner: str = "ann", batch: str | None = None) -> Job:
    first, *styles = map(Picture, urls)
    return store.submit(new_job(owner, content=first, styles=tuple(styles), batch_id=batch)).job


def intake(store: JobStore, objects: ObjectStore, config: Settings) -> Callable[[], bool]:
    return Intake(store, objects, config, "intake-1", threading.Event()).work


def times(web: Web, path: str) -> int:
    return sum(seen.path == path for seen in web.seen)


@pytest.mark.usefixtures("patient")
def test_the_items_of_a_batch_fetch_their_style_once_by_however_many_workers(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, redis_client: redis.Redis
) -> None:
    batch = new_id("batch")
    style = web.file("/style", picture("red"))
    contents = [web.file(f"/{number}", picture(f"#0000{number:02x}")) for number in range(24)]
    jobs = [submit(store, url, style, batch=batch) for url in contents]
    work = intake(store, objects, config)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda _: work(), jobs))

    assert times(web, "/style") == 1
    assert len(web.seen) == 25
    kept = {job.styles[0].sha256 for job in map(store.by_uid, [job.uid for job in jobs]) if job}
    assert len(kept) == 1
    assert redis_client.hget(Key.REFS, kept.pop()) == "24"
    assert store.tally().shared == 23


@pytest.mark.usefixtures("patient")
def test_jobs_of_one_owner_share_a_fetch_that_was_under_way_and_a_later_job_fetches_anew(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    gate = Gate(content(picture("red")))
    url = web.route("/style", in_turn(gate, content(picture("blue"))))
    first = submit(store, web.file("/1", picture("#000001")), url)
    work = intake(store, objects, config)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(work)
        assert gate.asked.wait(60)
        second = submit(store, web.file("/2", picture("#000002")), url)
        other = pool.submit(work)
        wait_for(lambda: times(web, "/2"), "the second job's content to be fetched")
        gate.open.set()
        assert one.result(60)
        assert other.result(60)
    later = submit(store, web.file("/3", picture("#000003")), url)
    work()
    kept = [store.get("ann", job.id).styles[0].sha256 for job in (first, second, later)]
    assert kept[0] == kept[1]
    assert kept[2] not in (None, kept[0]), "what the URL gives has changed since"
    assert times(web, "/style") == 2


def test_nothing_is_shared_between_owners_or_batches(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    url = web.file("/style", picture("red"))
    for owner, batch in (("ann", None), ("bob", None), ("ann", "batch_1"), ("ann", "batch_2")):
        submit(store, url, url, owner=owner, batch=batch)
    work = intake(store, objects, config)
    assert [work() for _ in range(5)] == [True] * 4 + [False]
    assert times(web, "/style") == 4


def test_a_batch_keeps_a_copy_for_items_that_are_accepted_long_after(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    url = web.file("/style", picture("red"))
    work = intake(store, objects, config)
    for _ in range(2):
        submit(store, url, url, batch="batch_1")
        assert work()
    assert times(web, "/style") == 1


def test_a_fault_of_the_caller_is_told_to_the_whole_batch_and_one_that_may_pass_is_not(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    missing, away = web.route("/missing", status(404)), web.route("/away", status(503))
    good = web.file("/good", picture("red"))
    for style, error, requests in ((missing, FetchFailed, 1), (away, FetchUnreachable, 3)):
        for _ in range(3):
            job = submit(store, good, style, batch="batch_1")
            with pytest.raises(error) as caught:
                prepare(job, store, objects, config)
            assert caught.value.pointer == "/styles/0"
        assert times(web, style.removeprefix(web.url)) == requests


@pytest.mark.usefixtures("patient")
def test_whoever_waited_shares_a_fault_that_may_pass(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    gate = Gate(status(503))
    url = web.route("/style", in_turn(gate, content(picture("red"))))
    jobs = [submit(store, web.file(f"/{n}", picture(f"#00000{n}")), url) for n in range(2)]
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(prepare, jobs[0], store, objects, config)
        assert gate.asked.wait(60)
        other = pool.submit(prepare, jobs[1], store, objects, config)
        wait_for(lambda: times(web, "/1"), "the second job to be at work")
        gate.open.set()
        for attempt in (one, other):
            with pytest.raises(FetchUnreachable):
                attempt.result(60)
    assert times(web, "/style") == 1
    assert prepare(jobs[1], store, objects, config).stored, "another attempt is another fetch"


def test_a_job_gives_up_its_slot_while_others_fetch_slowly_and_keeps_what_it_has(
    web: Web,
    store: JobStore,
    objects: ObjectStore,
    config: Settings,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing, "PATIENCE_SECONDS", 0.3)
    gate = Gate(content(picture("red")))
    url = web.route("/style", gate)
    submit(store, web.file("/1", picture("#000001")), url)
    work = intake(store, objects, config)
    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(work)
        assert gate.asked.wait(60)
        second = submit(store, web.file("/2", picture("#000002")), url)
        assert work(), "it comes back without the style"
        aside = store.get("ann", second.id)
        assert (aside.status, aside.stage, aside.attempt) == (Status.QUEUED, Stage.FETCHING, 0)
        assert aside.content.key, "the content is in"
        assert redis_client.zscore(Key.DELAYED, second.uid)
        audit(redis_client)
        gate.open.set()
        assert one.result(60)
    wait_for(lambda: store.reap().requeued, "the job to wait again")
    assert work()
    assert store.get("ann", second.id).stage is Stage.WAITING
    assert sorted(seen.path for seen in web.seen) == ["/1", "/2", "/style"]


def test_a_fetch_whose_worker_died_is_begun_by_another(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, redis_client: redis.Redis
) -> None:
    url = web.file("/style", picture("red"))
    dead = Flight.of(submit(store, url, url))
    assert store.claim_fetches(dead, [url]) == [Fetching()]
    job = submit(store, url, url)
    assert store.claim_fetches(Flight.of(job), [url]) == [Awaiting(dead.token)]
    name = Key.FETCH + dead.name(url)
    assert 0 < redis_client.pttl(name) <= LEASE_SECONDS * 1000
    redis_client.pexpire(name, 100)
    assert prepare(job, store, objects, config).stored
    assert times(web, "/style") == 1
    store.end_fetch(dead, url, None)
    assert isinstance(store.claim_fetches(Flight.of(job), [url])[0], Picture), (
        "it has nothing to say any more"
    )


def test_a_fetch_that_goes_on_keeps_its_lease(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings
) -> None:
    gate = Gate(content(picture("red")))
    url = web.route("/style", gate)
    job = submit(store, url, url)
    name = Key.FETCH + Flight.of(job).name(url)
    with ThreadPoolExecutor(1) as pool, connect(config) as client:
        attempt = pool.submit(prepare, job, store, objects, config)
        assert gate.asked.wait(60)
        wait_for(lambda: client.pttl(name) < 9000, "some of the lease to go")
        wait_for(lambda: client.pttl(name) > 9000, "the lease to be renewed")
        gate.open.set()
        assert attempt.result(60).stored


def test_a_copy_that_was_deleted_since_is_fetched_again(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, redis_client: redis.Redis
) -> None:
    url = web.file("/style", picture("red"))
    first = prepare(submit(store, url, url, batch="batch_1"), store, objects, config)
    assert first.content.sha256
    assert first.content.key
    redis_client.zadd(Key.UNUSED, {first.content.sha256: 0})
    job = submit(store, url, url, batch="batch_1")
    [key] = store.garbage(10)
    assert key == first.content.key
    assert store.claim_fetches(Flight.of(job), [url]) == [Fetching()]
    objects.delete(key)
    store.forget(key)
    store.end_fetch(Flight.of(job), url, None)
    redis_client.delete(Key.FETCH + Flight.of(job).name(url))
    again = prepare(job, store, objects, config)
    assert again == first
    assert objects.stat(key)


def test_who_stops_waiting_leaves_no_claim_behind(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, redis_client: redis.Redis
) -> None:
    gate = Gate(content(picture("red")))
    url = web.route("/style", gate)
    submit(store, url, url)
    claim = claim_intake(store)
    with pytest.raises(preparing.IntakeStoppedError):
        prepare(claim.job, store, objects, config, should_stop=gate.asked.is_set)
    assert redis_client.keys(f"{Key.FETCH}*") == []
    gate.open.set()


def test_a_job_that_only_awaits_says_so(
    web: Web, store: JobStore, objects: ObjectStore, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "PATIENCE_SECONDS", 0.2)
    url = web.file("/style", picture("red"))
    assert store.claim_fetches(Flight.of(submit(store, url, url)), [url]) == [Fetching()]
    with pytest.raises(IntakeAwaitsError):
        prepare(submit(store, url, url), store, objects, config)
    assert web.seen == []

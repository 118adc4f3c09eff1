"""Accepting jobs, and recognising requests that come again."""

from dataclasses import replace

import pytest
import redis

from shared.errors import Conflict, IdempotencyMismatch, InvalidRequest, NotFound
from shared.jobs.pictures import Picture
from shared.jobs.record import PaintProgress, Queue, Stage, Status, Webhook
from shared.jobs.store import JobStore
from tests.support.audit import audit
from tests.support.clock import START, Clock
from tests.support.jobs import claim_intake, claim_paint, clean, finish, new_job, sha256


def test_a_job_by_url_waits_for_intake(store: JobStore) -> None:
    submitted = store.submit(new_job(metadata={"order": "A-17 ü"}, priority=3))

    job = submitted.job
    assert submitted.created
    assert submitted.queue == Queue.INTAKE
    assert (job.status, job.stage, job.attempt, job.version) == ("queued", "fetching", 0, 1)
    assert job.metadata == {"order": "A-17 ü"}
    assert (job.created_at, job.deadline_at) == (START / 1000, START / 1000 + 3600)
    assert job.started_at is job.completed_at is job.expires_at is job.error is job.output is None
    assert store.get("ann", job.id) == store.by_uid(job.uid) == job


def test_what_submit_gives_is_what_the_store_keeps(store: JobStore) -> None:
    everything = new_job(
        id="poster",
        styles=(
            replace(clean("s"), weight=0.5, mask=clean("m"), region=Picture("https://example.org/r.png")),
        ),
        init=clean("i"),
        metadata={"order": "A-17 ü"},
        priority=3,
        retry_of="job_0",
        batch_id="batch_0",
        custom_id="first",
        webhook=Webhook("https://example.org/hook", ("job.succeeded",)),
        fresh=True,
    )
    for job in (everything, new_job(), new_job(skip_intake=True)):
        submitted = store.submit(job)
        assert store.by_uid(job.uid) == submitted.job
        again = store.submit(job)  # the answer was lost
        assert (again.job, again.position) == (submitted.job, submitted.position)


def test_a_look_is_the_record_and_the_place_of_one_moment(store: JobStore) -> None:
    places = []
    for job in (new_job(), new_job(id="poster"), new_job(priority=1)):
        submitted = store.submit(job)
        places.append(submitted.position)
        assert store.look("ann", job.id) == (store.get("ann", job.id), submitted.position)
        assert submitted.position == store.position(submitted.job)
    assert places == [1, 2, 1]
    claim = claim_intake(store)
    assert store.look("ann", claim.job.id) == (store.get("ann", claim.job.id), None)
    with pytest.raises(NotFound):
        store.look("bob", claim.job.id)


def test_a_look_at_what_is_known_reads_it_only_where_it_has_changed(store: JobStore) -> None:
    submitted = store.submit(new_job(skip_intake=True))
    other = store.submit(new_job(skip_intake=True)).job
    known, place = store.look("ann", submitted.job.id)
    again = store.look("ann", known.id, known)
    assert again[0] is known
    assert again[1] == place == 1
    assert store.look("ann", other.id, known) == (other, 2)

    claim = claim_paint(store)
    changed, place = store.look("ann", known.id, known)
    assert (changed.status, place) == (Status.PROCESSING, None)
    assert store.look("ann", known.id, changed)[0] is changed
    store.renew(claim, PaintProgress(1, 2, 1, 1, {}), Stage.PAINTING)
    assert store.look("ann", known.id, changed)[0].progress == PaintProgress(1, 2, 1, 1, {})

    store.release(claim)
    back, place = store.look("ann", known.id, changed)
    assert (back, place) == (store.get("ann", known.id), 1)
    claim = claim_paint(store)
    finish(store, claim)
    ended, _ = store.look("ann", known.id, changed)
    assert store.look("ann", known.id, ended)[0] is ended
    store.purge("ann", known.id)
    with pytest.raises(NotFound):
        store.look("ann", known.id, ended)


def test_a_look_at_what_is_known_tells_when_it_leads_and_no_longer_follows(store: JobStore) -> None:
    leader, follower = (store.submit(new_job(skip_intake=True, fresh=False)).job for _ in range(2))
    known, place = store.look("ann", follower.id)
    assert (known.following, place) == (True, 1)
    store.cancel("ann", leader.id)
    assert store.look("ann", follower.id, known) == (store.get("ann", follower.id), 1)
    assert not store.get("ann", follower.id).following


def test_a_job_whose_pictures_are_stored_skips_intake(store: JobStore) -> None:
    submitted = store.submit(new_job(skip_intake=True))

    assert submitted.queue == Queue.PAINT
    assert submitted.job.stage == "waiting"
    assert store.claim(Queue.INTAKE, "intake-1") is None
    assert claim_paint(store).job.uid == submitted.job.uid


def test_the_same_id_and_body_give_the_same_job(store: JobStore) -> None:
    first = store.submit(new_job(id="poster"))
    again = store.submit(new_job(id="poster"))

    assert not again.created
    assert not again.ring
    assert again.job == first.job


def test_the_same_id_with_another_body_is_a_conflict(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(id="poster"))
    with pytest.raises(Conflict):
        store.submit(new_job(id="poster", body_hash=sha256("other")))
    assert store.counts()["queued"] == 1
    audit(redis_client)


def test_another_owner_may_use_the_same_id(store: JobStore) -> None:
    assert store.submit(new_job("ann", id="poster")).created
    assert store.submit(new_job("bob", id="poster")).created


def test_an_owner_cannot_see_another_ones_job(store: JobStore) -> None:
    store.submit(new_job("ann", id="poster"))
    for call in (store.get, store.cancel, store.purge):
        with pytest.raises(NotFound):
            call("bob", "poster")


def test_the_same_idempotency_key_and_body_give_the_same_job(store: JobStore) -> None:
    first = store.submit(new_job(idempotency_key="k1"))
    again = store.submit(new_job(idempotency_key="k1"))

    assert (again.created, again.job.uid) == (False, first.job.uid)
    assert store.submit(new_job("bob", idempotency_key="k1")).created


def test_the_same_idempotency_key_with_another_body_is_refused(store: JobStore) -> None:
    store.submit(new_job(idempotency_key="k1"))
    with pytest.raises(IdempotencyMismatch):
        store.submit(new_job(idempotency_key="k1", body_hash=sha256("other")))


def test_an_idempotency_key_is_kept_for_a_day(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(idempotency_key="k1"))
    assert 86_390 < redis_client.ttl("im:idempotency:k1:ann") <= 86_400


def test_a_submit_whose_answer_was_lost_can_be_repeated(store: JobStore) -> None:
    job = new_job()
    store.submit(job)
    again = store.submit(job)

    assert again.created
    assert store.counts()["queued"] == 1


def test_a_submit_that_is_repeated_asks_for_its_bell_again_while_nobody_has_taken_the_job(
    store: JobStore,
) -> None:
    job = replace(new_job(skip_intake=True), fresh=False)
    assert [store.submit(job).ring for _ in range(2)] == [True, True]
    follower = replace(job, uid="job_follower", id="job_follower")
    assert [store.submit(follower).ring for _ in range(2)] == [False, False]
    claim_paint(store)
    assert not store.submit(job).ring


def test_submit_asks_for_a_bell_only_while_few_are_outstanding(
    store: JobStore, redis_client: redis.Redis
) -> None:
    redis_client.rpush("intake", *["bell"] * 3)
    assert store.submit(new_job()).ring
    redis_client.rpush("intake", "bell")
    assert not store.submit(new_job()).ring
    assert store.submit(new_job(skip_intake=True)).ring  # the other stage has bells of its own


def test_a_list_shows_the_last_accepted_first_page_by_page(store: JobStore) -> None:
    uids = [store.submit(new_job()).job.uid for _ in range(5)]
    store.submit(new_job("bob"))

    shown, token = [], None
    for size in (2, 2, 1):
        page = store.list("ann", limit=2, page_token=token)
        assert len(page.jobs) == size
        shown += [job.uid for job in page.jobs]
        token = page.next_token
    assert token is None
    assert shown == uids[::-1]


def test_a_page_is_not_shifted_by_jobs_that_come_or_go(store: JobStore) -> None:
    uids = [store.submit(new_job()).job.uid for _ in range(4)]
    page = store.list("ann", limit=2)
    store.submit(new_job())
    store.cancel("ann", uids[3])
    store.purge("ann", uids[3])

    rest = store.list("ann", limit=2, page_token=page.next_token)
    assert [job.uid for job in rest.jobs] == [uids[1], uids[0]]


def test_a_list_can_show_one_status_only(store: JobStore) -> None:
    jobs = [store.submit(new_job()).job for _ in range(3)]
    store.cancel("ann", jobs[1].id)

    assert [job.uid for job in store.list("ann", status=Status.CANCELED).jobs] == [jobs[1].uid]
    assert len(store.list("ann", status=Status.QUEUED).jobs) == 2


@pytest.mark.parametrize("token", ["", "x", "MTo", "Mjox", "MToxMjM0NTY3ODkwMTIzNDU2Nzg", "é", "MTotMQ"])
def test_a_page_token_that_is_none_of_ours_is_refused(store: JobStore, token: str) -> None:
    with pytest.raises(InvalidRequest):
        store.list("ann", page_token=token)


def test_a_place_in_line_counts_the_turns_of_other_owners(store: JobStore) -> None:
    bulk = [store.submit(new_job("bulk")).job for _ in range(10)]
    single = store.submit(new_job("single")).job
    urgent = store.submit(new_job("bulk", priority=9)).job

    places = [store.position(job) for job in (urgent, single, bulk[0], bulk[1], bulk[9])]
    assert places == [1, 2, 3, 4, 12]
    order = [claim_intake(store).job.uid for _ in range(4)]
    assert order == [urgent.uid, single.uid, bulk[0].uid, bulk[1].uid]
    assert store.position(store.get("single", single.id)) is None


def test_depths_and_counts_follow_a_job(store: JobStore, clock: Clock) -> None:
    store.submit(new_job())
    store.submit(new_job(skip_intake=True, backbone="vgg19"))
    assert store.depths() == {Queue.INTAKE: 1, Queue.PAINT: 1}
    store.advance(claim_intake(store), clean("a"), [clean("b")], {"fetch": 0.4})
    assert store.depths() == {Queue.INTAKE: 0, Queue.PAINT: 2}
    clock.advance(1)
    claim_paint(store)
    assert store.depths() == {Queue.INTAKE: 0, Queue.PAINT: 1}
    assert (store.counts()["queued"], store.counts()["processing"]) == (1, 1)


def test_a_retried_job_names_the_old_one(store: JobStore) -> None:
    old = store.submit(new_job()).job
    assert store.submit(replace(new_job(), retry_of=old.id)).job.retry_of == old.id

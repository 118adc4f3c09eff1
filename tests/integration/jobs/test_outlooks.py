"""What is foretold of jobs from what has been painted: the store's side of `shared.jobs.eta`."""

from collections.abc import Callable

import pytest
import redis

from shared.jobs.changes import BEGINNING, ChangeLog
from shared.jobs.keys import Key
from shared.jobs.outlooks import Outlooks
from shared.jobs.record import SCHEMA, Job, PaintProgress, Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.clock import Clock
from tests.support.jobs import SPEC, claim_intake, claim_paint, finish, new_job, output

Submit = Callable[..., Job]


class Moment:
    """A monotonic clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def outlooks(redis_client: redis.Redis, store: JobStore, moment: Moment) -> Outlooks:
    """With one painter live and one intake worker, which fetches two at a time."""
    return Outlooks(redis_client, store, 2, moment)


@pytest.fixture(autouse=True)
def painters(redis_client: redis.Redis, clock: Clock) -> Workers:  # noqa: ARG001 - adverts go by this clock
    workers = Workers(redis_client)
    workers.advertise(WorkerInfo("paint-1", Queue.PAINT, ("compact",), "cpu"), 100_000)
    workers.advertise(WorkerInfo("intake-1", Queue.INTAKE, (), "cpu"), 100_000)
    return workers


@pytest.fixture
def submit(store: JobStore) -> Submit:
    def submit(steps: int = 100, **changes: object) -> Job:
        spec = SPEC.model_copy(update={"steps": steps})
        return store.submit(new_job(spec=spec, **{"skip_intake": True, **changes})).job

    return submit


def painted(store: JobStore, clock: Clock, seconds: float, batch: int = 1) -> None:
    """The next job is painted, in so many seconds."""
    claim = claim_paint(store)
    clock.advance(seconds)
    store.finish(
        claim, output(claim), seconds={"paint": seconds, "store": 0}, evaluations=1, loss={}, batch=batch
    )


def test_before_a_first_picture_nothing_is_foretold_but_the_place(submit: Submit, outlooks: Outlooks) -> None:
    submit()
    outlook = outlooks.of(submit())
    assert outlook is not None
    assert (outlook.position, outlook.seconds) == (2, None)


def test_jobs_like_one_that_was_painted_take_as_long(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 4.0)
    line = [submit() for _ in range(3)]
    assert [outlooks.of(job).seconds for job in line] == pytest.approx([4.0, 8.0, 12.0])  # type: ignore[union-attr]


def test_two_painters_take_half_as_long(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks, painters: Workers
) -> None:
    painters.advertise(WorkerInfo("paint-2", Queue.PAINT, ("compact",), "cpu"), 100_000)
    submit()
    painted(store, clock, 4.0)
    line = [submit() for _ in range(4)]
    assert [outlooks.of(job).seconds for job in line] == pytest.approx([4.0, 4.0, 8.0, 8.0])  # type: ignore[union-attr]


def test_without_a_painter_nothing_is_foretold(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks, painters: Workers
) -> None:
    submit()
    painted(store, clock, 4.0)
    painters.withdraw("paint-1")
    outlook = outlooks.of(submit())
    assert outlook is not None
    assert (outlook.position, outlook.seconds) == (1, None)


def test_what_was_painted_together_costs_each_its_share(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 6.0, batch=3)
    line = [submit() for _ in range(4)]
    told = [outlooks.of(job).seconds for job in line]  # type: ignore[union-attr]
    assert told == pytest.approx([6.0, 6.0, 6.0, 8.0])


def test_what_was_not_painted_yet_is_judged_by_its_work(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    for steps in (100, 300):
        submit(steps)
        painted(store, clock, 1.0 + steps / 100)
    strange = submit(200)
    assert outlooks.of(strange).seconds == pytest.approx(3.0, rel=0.05)  # type: ignore[union-attr]


def test_a_job_that_was_interrupted_tells_nothing_of_others(
    submit: Submit, store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    submit()
    claim = claim_paint(store)
    clock.advance(1000)
    store.finish(claim, output(claim), seconds={"paint": 5.0}, evaluations=1, loss={})
    assert redis_client.hgetall(Key.PACES) == {}


def test_a_running_job_holds_up_those_behind_it_for_what_is_left_of_it(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks, moment: Moment
) -> None:
    submit()
    painted(store, clock, 10.0)
    submit()
    claim = claim_paint(store)
    waiting = submit()
    clock.advance(4)
    store.renew(claim, PaintProgress(40, 100, 1, 1))
    running = store.by_uid(claim.job.uid)
    assert running is not None
    assert outlooks.of(running).seconds == pytest.approx(6.0)  # type: ignore[union-attr]
    assert outlooks.of(waiting).seconds == pytest.approx(16.0)  # type: ignore[union-attr]
    moment.now += 0.5  # the same look, half a second later
    assert outlooks.of(waiting).seconds == pytest.approx(15.5)  # type: ignore[union-attr]
    assert outlooks.of(running).seconds == pytest.approx(0.6 * 5.5 + 0.4 * 4.5 * 1.5)  # type: ignore[union-attr]


def test_a_job_that_is_being_fetched_is_behind_what_waits_to_be_painted(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 4.0)
    submit()
    fetching = submit(skip_intake=False)
    assert outlooks.of(fetching).seconds == pytest.approx(8.0)  # type: ignore[union-attr]


def test_a_long_line_is_sampled_and_still_foretold(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    for steps, seconds in ((100, 1.0), (200, 3.0)):
        submit(steps)
        painted(store, clock, seconds)
    line = [submit((100, 200)[n % 2]) for n in range(400)]
    for place in (10, 64, 65, 200, 400):
        told = outlooks.of(line[place - 1]).seconds  # type: ignore[union-attr]
        assert told == pytest.approx(2.0 * place, rel=0.1)


def test_a_job_that_has_ended_has_no_outlook(store: JobStore, submit: Submit, outlooks: Outlooks) -> None:
    job = submit()
    finish(store, claim_paint(store))
    ended = store.by_uid(job.uid)
    assert ended is not None
    assert outlooks.of(ended) is None


def test_every_change_that_a_poll_can_see_is_told_and_no_other(
    store: JobStore, redis_client: redis.Redis
) -> None:
    job = store.submit(new_job()).job
    intake = claim_intake(store)
    store.renew(intake)  # a bare heartbeat
    store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.5})
    claim = claim_paint(store)
    store.renew(claim, PaintProgress(10, 100, 1, 3), preview_key="previews/x", preview_step=10)
    finish(store, claim)
    told = ChangeLog(redis_client).after(BEGINNING, 100)
    assert [(change.version, change.status, change.stage) for change in told] == [
        (2, "queued", "fetching"),
        (3, "queued", "waiting"),
        (4, "processing", "painting"),
        (5, "processing", "painting"),
        (6, "succeeded", None),
    ]
    assert {change.uid for change in told} == {job.uid}
    assert (told[3].preview_step, told[3].progress) == (
        10,
        '{"step":10,"steps":100,"level":1,"levels":3,"loss":{}}',
    )
    assert [change.ended for change in told] == [False] * 4 + [True]
    record = store.by_uid(job.uid)
    assert record is not None
    assert record.version == told[-1].version


def test_the_stream_says_how_far_it_reaches(redis_client: redis.Redis) -> None:
    log = ChangeLog(redis_client)
    assert log.extent().complete_from == log.extent().last == BEGINNING
    entry: dict[str, str | int] = {"uid": "a", "version": 1, "status": "queued", "stage": ""}
    ids = [redis_client.xadd(Key.CHANGES, entry) for _ in range(3)]  # type: ignore[arg-type]
    assert (log.extent().complete_from, log.extent().last) == (BEGINNING, ids[-1])
    redis_client.xtrim(Key.CHANGES, maxlen=2, approximate=False)
    assert (log.extent().complete_from, log.extent().last) == (ids[1], ids[-1])
    redis_client.xtrim(Key.CHANGES, maxlen=0, approximate=False)
    assert (log.extent().complete_from, log.extent().last) == (ids[-1], ids[-1])
    assert log.wait(str(ids[-1]), 0.01, 10) == []


def test_a_follower_ends_with_the_job_that_it_follows(
    submit: Submit, store: JobStore, clock: Clock, moment: Moment, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 10.0)
    before, leader, follower = submit(), submit(fresh=False), submit(fresh=False)
    after = submit()
    assert ends(store, outlooks, before, leader, follower, after) == pytest.approx([10.0, 20.0, 20.0, 30.0])
    painted(store, clock, 10.0)
    claim = claim_paint(store)
    clock.advance(4.0)
    store.renew(claim, progress=PaintProgress(40, 100, 1, 1, {}))
    moment.now += 2.0
    assert claim.job.uid == leader.uid
    assert ends(store, outlooks, leader, follower, after) == pytest.approx([6.0, 6.0, 16.0])


def test_a_follower_is_told_no_less_than_the_job_that_it_follows_where_little_is_known(
    submit: Submit, store: JobStore, outlooks: Outlooks
) -> None:
    submit(fresh=False)
    follower = submit(fresh=False)
    claim = claim_paint(store)
    assert ends(store, outlooks, claim.job, follower) == [None, None]


def test_what_is_painted_says_nothing_to_another_owners_twin(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 10.0)
    submit(fresh=False)
    claim_paint(store)
    leader, follower = submit(fresh=False, owner="bob"), submit(fresh=False, owner="bob")
    assert ends(store, outlooks, leader, follower) == pytest.approx([20.0, 20.0])


def test_what_is_painted_for_itself_says_nothing_to_followers_of_another(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks
) -> None:
    submit()
    painted(store, clock, 10.0)
    fresh = submit()
    claim_paint(store)
    leader, follower = submit(fresh=False), submit(fresh=False)
    assert ends(store, outlooks, fresh, leader, follower) == pytest.approx([10.0, 20.0, 20.0])


def test_a_record_that_cannot_be_read_here_keeps_no_other_from_its_forecast(
    submit: Submit, store: JobStore, clock: Clock, outlooks: Outlooks, redis_client: redis.Redis
) -> None:
    submit(steps=200)
    painted(store, clock, 10.0)
    later, other = submit(steps=100), submit(steps=200)
    redis_client.hset(Key.JOB + later.uid, mapping={"schema": SCHEMA + 1, "spec": '{"size": "auto"}'})
    assert ends(store, outlooks, other)[0] is not None


def ends(store: JobStore, outlooks: Outlooks, *jobs: Job) -> list[float | None]:
    """What is told of each, as it is now."""
    found = []
    for job in jobs:
        now = store.by_uid(job.uid)
        assert now is not None
        outlook = outlooks.of(now)
        assert outlook is not None
        found.append(outlook.seconds)
    return found

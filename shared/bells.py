"""Ringing a bell: one Celery message that tells a stage's workers to look at their waiting set."""

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.celery_app import app, task_name
from shared.errors import StoreUnavailable
from shared.jobs.record import Queue


def ring(queue: Queue) -> None:
    """Publish one bell.

    Raises:
        StoreUnavailable: Redis does not answer. Nothing is lost: the reaper rings for what waits.
    """
    try:
        app.send_task(task_name(queue), queue=str(queue), retry=False)
    except (OperationalError, RedisError, OSError) as error:
        raise StoreUnavailable(f"the bell of {queue} could not be rung") from error

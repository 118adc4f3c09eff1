"""The Celery application: three queues whose messages are doorbells.

A message names a stage, not a job (docs/architecture.md): losing one delays, doubling one does nothing.
So the settings here aim at a worker that always comes back, not at exactly-once delivery: a worker that
consumes writes nothing to Redis, so that a full server does not stop it. Bells are rung by `shared.bells`.
"""

from typing import Any

from celery import Celery
from kombu.entity import Queue as BrokerQueue

from shared.jobs.record import Queue
from shared.redis import connection
from shared.settings import Settings, settings

#: A frozen or half-open connection to Redis is noticed after about twice this long.
HEALTH_CHECK_SECONDS = 5
#: Kombu asks for a message for so long at a time; an answer may take this and the network's time.
BRPOP_SECONDS = 1.0


def task_name(queue: Queue) -> str:
    """Name of the task that a bell of this queue calls."""
    return f"impasto.{queue}"


def make_app(config: Settings) -> Celery:
    """A Celery application on the configured Redis."""
    # The URL stands for `connection` below, which tells `worker.hearing` where Redis is: Kombu itself refuses
    # most options of such URLs, and verifies no TLS server.
    app = Celery("impasto", broker="redis://localhost", set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        # Declaring a queue would write bindings, which only Celery's own publishing reads.
        task_queues=[BrokerQueue(queue, no_declare=True) for queue in Queue],
        task_routes={task_name(queue): {"queue": str(queue)} for queue in Queue},
        worker_pool="threads",
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # A worker keeps painting while Redis is away: the lease decides, not the connection.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=config.redis_timeout,
        broker_transport_options={
            # A bell in hand is not noted in Redis: if its worker dies, the reaper rings for what waits.
            "ack_emulation": False,
            "health_check_interval": HEALTH_CHECK_SECONDS,
            "connection": _connection(config),
        },
    )
    return app


def _connection(config: Settings) -> tuple[type[Any], dict[str, Any]]:
    """What bells come over, for `worker.hearing`: connections as all others, that wait for a bell besides."""
    kind, options = connection(config)
    waits = {
        "socket_timeout": BRPOP_SECONDS + config.redis_timeout,
        "health_check_interval": HEALTH_CHECK_SECONDS,
        "decode_responses": False,
    }
    return kind, options | waits


app = make_app(settings())

"""Ringing a bell: one Celery message that tells a stage's workers to look at their waiting set.

The message is made here and pushed by a script of ours (`shared/jobs/ring.lua`), not published by Celery: one
round trip under the timeouts of `shared.redis`, never more bells than may be outstanding, and rung by a full
server too. Workers consume it as any Celery message.
"""

import base64
import json
import uuid
from functools import cache

from shared.celery_app import task_name
from shared.jobs.record import Queue
from shared.jobs.scripts import Scripts
from shared.redis import connect
from shared.settings import settings


def ring(queue: Queue) -> None:
    """Ring once, unless enough bells are outstanding.

    Raises:
        StoreUnavailable: Redis does not answer. Nothing is lost: the reaper rings for what waits.
    """
    _scripts().run("ring", queue=queue, bell=message(queue))


def message(queue: Queue) -> str:
    """A bell as Celery's workers read it from the queue's list.

    Celery's message protocol 2 (a task without arguments) in the envelope of Kombu's virtual transports.
    """
    task_id = str(uuid.uuid4())
    body = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": task_name(queue), "id": task_id, "root_id": task_id},
            "properties": {
                "body_encoding": "base64",
                "correlation_id": task_id,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "delivery_mode": 2,
                "delivery_tag": task_id,
                "priority": 0,
                "reply_to": "",
            },
        }
    )


@cache
def _scripts() -> Scripts:
    config = settings()
    return Scripts(connect(config), {"bells": config.bells})

"""The service as far as batches need it, without anybody who paints: Valkey, the API, a chores worker."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from bench.api import body
from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.api import ApiServer, environment
from tests.support.rig import PRODUCTION, ROOT
from tests.support.valkey import start_valkey
from tests.support.waiting import wait_for

_START_SECONDS = 60.0
#: What all items have in common.
DEFAULTS = {"styles": ["https://pictures.example.org/styles/1.jpg"], "spec": {"size": 768}}


class Service:
    """Processes as they are run for real.

    Attributes:
        client: Valkey's. redis_url: where that is. port: the API's.
        api: process ID of the API. chores: of the chores worker. valkey: of Valkey.
    """

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        server = start_valkey(folder / "valkey", options=PRODUCTION)
        exits.callback(server.kill)
        self.valkey, self.redis_url = server.process.pid, server.url
        self.client = redis.Redis.from_url(server.url, decode_responses=True)
        exits.callback(self.client.close)
        self._workers = Workers(self.client)
        self._advertise()
        api = exits.enter_context(ApiServer(folder, server.url))
        self.port = int(api.url.rpartition(":")[2])
        (self.api,) = api.workers()
        self.chores = exits.enter_context(_chores(folder, server.url))
        wait_for(lambda: len(self._workers.live()) > 1, "the chores worker", _START_SECONDS)

    def clear(self) -> None:
        """Begin with an empty store. The workers that live go on."""
        self.client.flushdb()
        self._advertise()

    def _advertise(self) -> None:
        # For longer than any run: a batch is refused whose backbone nobody offers.
        self._workers.advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 86_400)


@contextmanager
def _chores(folder: Path, redis_url: str) -> Iterator[int]:
    environ = environment({"data_dir": str(folder), "redis_url": redis_url, "log_level": "WARNING"})
    command = [sys.executable, "-m", "worker", "chores"]
    with (folder / "chores.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def items(count: int) -> Iterator[dict[str, Any]]:
    """Items that differ in content, custom ID and metadata."""
    for number in range(count):
        whole = body(number)
        yield {"custom_id": f"item-{number}", "content": whole["content"], "metadata": whole["metadata"]}

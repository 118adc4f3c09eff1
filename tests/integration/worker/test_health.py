"""The health check of a worker's container, as the engine runs it: a process and its exit status."""

import os
import socket
import subprocess
import sys

import redis

from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers

#: However slow this machine is, the store is there.
PATIENT = {"IMPASTO_REDIS_TIMEOUT": "20"}


def check(queue: str, url: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, "IMPASTO_REDIS_URL": url, **settings}
    command = [sys.executable, "-m", "worker.health", queue]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=90, check=False)


def advertise(client: redis.Redis, queue: Queue, host: str) -> None:
    Workers(client).advertise(WorkerInfo(f"{queue}@{host}:7", queue, (), "cpu"), ttl_seconds=60)


def test_a_worker_that_advertises_this_host_is_healthy(valkey: str, redis_client: redis.Redis) -> None:
    advertise(redis_client, Queue.PAINT, socket.gethostname())
    checked = check("paint", valkey, **PATIENT)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_workers_of_other_hosts_and_queues_do_not_count(valkey: str, redis_client: redis.Redis) -> None:
    advertise(redis_client, Queue.PAINT, "another-host")
    advertise(redis_client, Queue.INTAKE, socket.gethostname())
    checked = check("paint", valkey, **PATIENT)
    assert checked.returncode == 1
    assert "no live paint worker on this host" in checked.stderr


def test_a_worker_without_redis_is_not_healthy() -> None:
    checked = check("chores", "redis://127.0.0.1:1/0")
    assert checked.returncode == 1
    assert "Redis does not answer" in checked.stderr

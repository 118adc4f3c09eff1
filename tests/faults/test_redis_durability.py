"""Fault 5: what is on the disk when a job is answered, by how the append-only file is synced.

Power cannot be cut here. What can be seen is the order of the server's system calls. With `always` it has
written to the file and synced it before it answers. With `everysec` a thread of its own syncs once a second;
until then power loss loses what was answered. And while that thread syncs, the server answers without having
written: then killing the process loses what was answered. A sync that takes long makes that certain here.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.jobs.record import Job
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.jobs import new_job
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for

JOBS = 20
FILES = "appendonlydir"
#: One system call as strace writes it: the thread, the call, the number of the file.
CALL = re.compile(r"^\d+ +(write|writev|sendto|fdatasync|fsync)\((\d+)", re.MULTILINE)
#: Seconds that a sync is made to take: with `everysec` one more job is to be answered meanwhile.
SLOW_SYNC_SECONDS = {"always": 2, "everysec": 6}

WROTE, SYNCED, ANSWERED = "wrote", "synced", "answered"


@contextmanager
def store_on(folder: Path, fsync: str) -> Iterator[tuple[ValkeyServer, JobStore]]:
    """A server of its own in this folder, and a store on it."""
    server = start_valkey(folder, options=("--appendfsync", fsync))
    try:
        config = Settings(redis_url=server.url, redis_timeout=20)
        with connect(config) as client:
            yield server, JobStore(client, config)
    finally:
        server.kill()


@contextmanager
def traced(pid: int, log: Path, *options: str) -> Iterator[None]:
    """Write down the system calls that a process makes; skips the test where that cannot be done."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed: what is synced cannot be seen")
    command = ["strace", "-f", "-s", "0", "-o", str(log), "-e", "trace=write,writev,sendto,fdatasync,fsync"]
    tracer = subprocess.Popen([*command, *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    with tracer.stderr:
        if "attached" not in (said := tracer.stderr.readline()):
            tracer.wait()
            pytest.skip(f"strace may not be used here: {said.strip()}")
        yield
        tracer.terminate()
        tracer.wait()


def in_order(pid: int, log: str) -> Iterator[str]:
    """What the calls did to the append-only file and to clients."""
    for call, number in CALL.findall(log):
        target = str(Path(f"/proc/{pid}/fd/{number}").readlink())
        if call in ("fdatasync", "fsync"):
            yield SYNCED
        elif target.endswith(".aof"):
            yield WROTE
        elif target.startswith("socket:"):
            yield ANSWERED


@pytest.mark.fault(5)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_with_always_a_job_is_synced_when_it_is_answered_with_everysec_later(
    tmp_path: Path, fsync: str
) -> None:
    log = tmp_path / "calls"
    with store_on(tmp_path / fsync, fsync) as (server, store):
        store.submit(new_job())  # connects, and teaches the script
        with traced(server.process.pid, log):
            for _ in range(JOBS):
                store.submit(new_job())
        done = " ".join(in_order(server.process.pid, log.read_text()))
    if fsync == "always":
        assert f"{WROTE} {ANSWERED}" not in done
        assert f"{ANSWERED} {ANSWERED}" not in done
        # The tracer may be ended before it sees the last answer.
        assert done.count(f"{WROTE} {SYNCED} {ANSWERED}") >= JOBS - 1
    else:
        assert done.count(ANSWERED) >= JOBS - 1
        assert done.count(SYNCED) < JOBS / 2


@pytest.mark.fault(5)
def test_with_always_the_file_as_it_is_at_the_answer_holds_the_job(tmp_path: Path) -> None:
    with store_on(tmp_path / "first", "always") as (_, store):
        jobs = [store.submit(new_job()).job for _ in range(JOBS)]
        shutil.copytree(tmp_path / "first" / FILES, tmp_path / "second" / FILES)
    with store_on(tmp_path / "second", "always") as (_, again):
        assert [again.by_uid(job.uid) for job in jobs] == jobs


@pytest.mark.fault(5)
@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_killing_a_server_that_syncs_loses_answered_jobs_with_everysec_and_none_with_always(
    tmp_path: Path, fsync: str
) -> None:
    slow = f"inject=fdatasync:delay_enter={SLOW_SYNC_SECONDS[fsync] * 1_000_000}"
    jobs: list[Job] = []

    def syncs(store: JobStore) -> bool:
        """Submit, until a thread of the server syncs what was written."""
        jobs.append(store.submit(new_job()).job)
        return fsync == "always" or store._redis.info("persistence")["aof_pending_bio_fsync"] > 0

    with store_on(tmp_path / "first", fsync) as (server, store):
        with traced(server.process.pid, tmp_path / "calls", "-e", slow):
            wait_for(lambda: syncs(store), "a sync to begin")
            last = store.submit(new_job()).job
            server.kill()
        server.restart()
        # The last of these may have come just after the sync began.
        assert [store.by_uid(job.uid) for job in jobs[:-1]] == jobs[:-1]
        assert store.by_uid(last.uid) == (last if fsync == "always" else None)

"""A service taken apart for fault tests: each process started by hand, with a fault proxy before each server.

    with Rig(tmp_path) as rig:
        worker = rig.worker(Queue.PAINT)
        job = rig.submit(steps=400)
        rig.painting(job)
        worker.kill()
        rig.worker(Queue.PAINT)
        assert rig.ended(job).status is Status.SUCCEEDED
        rig.audit()

Processes of the service reach Valkey and S3 through `redis_proxy` and `s3_proxy`; the test itself goes to the
servers directly, so that it sees what is the case while they are cut off. Nothing is started again by itself.
"""

import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import redis
from PIL import Image

from deploy.ports import free_port
from shared.backbones import BACKBONES
from shared.jobs.pictures import Picture
from shared.jobs.record import Job, Queue, Stage
from shared.jobs.store import JobStore
from shared.jobs.workers import Workers
from shared.objects import open_objects
from shared.settings import Settings
from shared.spec import resolve
from tests.integration.service.support import picture
from tests.support import nursery
from tests.support.api import API_REDIS_SECONDS, REDIS_SECONDS, gunicorn
from tests.support.audit import Snapshot, audit
from tests.support.house import QUICK
from tests.support.jobs import new_job
from tests.support.nursery import Born
from tests.support.processes import children_of
from tests.support.proxy import FaultProxy
from tests.support.s3 import S3Server
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
#: How the service's own Valkey is run, beside its append-only file.
PRODUCTION = ("--maxmemory-policy", "noeviction", "--appendfsync", "always")
SMALL: dict[str, Any] = {"size": 64, "steps": 30, "pyramid": 1}
#: On a machine that is busy with other things nobody is taken for lost, nor Redis for away.
PATIENT: dict[str, Any] = {"lease_seconds": 30, "api_redis_seconds": API_REDIS_SECONDS}
#: For a service, or for its workers, where a lease is to run out.
SHORT_LEASE: dict[str, Any] = {"lease_seconds": 5, "redis_timeout": 1.5}
#: Of a worker that is to find the lease of another run out: it takes no pause of its own for one of Redis.
SUCCESSOR: dict[str, Any] = {**SHORT_LEASE, "lease_seconds": 30}


class Process:
    """One process of the service. What it says goes to `log`."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes] | Born", log: Path) -> None:
        self.name, self.log = name, log
        self._process = process
        self.pid = process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def kill_all(self) -> None:
        """SIGKILL, for it and its children: a gunicorn's worker goes on serving without its master."""
        children = self.children()
        self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()

    def children(self) -> list[int]:
        """Processes that it has started and not yet reaped, dead or alive. Linux only."""
        return children_of(self.pid)

    def terminate(self) -> None:
        """SIGTERM; does not wait."""
        self._process.terminate()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end; returns its exit status."""
        return self._process.wait(seconds)

    def said(self, words: str) -> bool:
        """Whether the log has these words."""
        return words in self.log.read_text(errors="replace")

    def end(self) -> None:
        """Whatever state it is in."""
        if self.status is None:
            self.thaw()
            self._process.kill()
            self._process.wait()


class Rig:
    """Servers, proxies, and whatever processes a test starts. Use it as a context manager.

    Args:
        folder: for everything that is kept.
        s3: a server for the pictures; a folder keeps them otherwise.
        valkey_options: further options of its command line.
        settings: of the service, each by its name in `Settings`, on top of the tests' short times and
            `PATIENT`. `redis_timeout` is a third of the lease where it is not given.

    Attributes:
        valkey: the job store's server. redis_proxy: how the service reaches it.
        s3_proxy: how the service reaches S3, where it does.
        config: settings that go to the servers directly. store, objects, client: made from them.
        environ: the processes' environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        s3: S3Server | None = None,
        valkey_options: tuple[str, ...] = PRODUCTION,
        **settings: object,
    ) -> None:
        self.folder = folder
        self._exits = ExitStack()
        self._s3, self._valkey_options, self._settings = s3, valkey_options, settings
        self._numbers = itertools.count()
        self.processes: list[Process] = []
        self._fault = folder / "fault"

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.valkey: ValkeyServer = start_valkey(self.folder / "valkey", options=self._valkey_options)
            exits.callback(self._end_valkey)
            self.redis_proxy = exits.enter_context(FaultProxy(self.valkey.port))
            given = {
                name.removeprefix("IMPASTO_").lower(): value
                for name, value in {**QUICK, "IMPASTO_TORCH_THREADS": "1"}.items()
            }
            given |= {"data_dir": str(self.folder / "data"), "redis_url": self.redis_proxy.url("redis", "/0")}
            direct = {"redis_url": self.valkey.url}
            if self._s3 is not None:
                port = urlsplit(self._s3.endpoint).port
                assert port is not None
                self.s3_proxy = exits.enter_context(FaultProxy(port))
                given |= {
                    "storage": "s3",
                    "s3_endpoint": self.s3_proxy.url("http"),
                    "s3_bucket": f"impasto-{uuid.uuid4().hex[:12]}",
                    "s3_region": self._s3.region,
                    "s3_access_key": self._s3.access_key,
                    "s3_secret_key": self._s3.secret_key,
                }
                direct["s3_endpoint"] = self._s3.endpoint
            settings = {**PATIENT, **self._settings}
            settings.setdefault("redis_timeout", settings["lease_seconds"] / 3)
            given |= {name: str(value) for name, value in settings.items()}
            others = {name: value for name, value in os.environ.items() if not name.startswith("IMPASTO_")}
            self.environ = {
                **others,
                "PYTHONUNBUFFERED": "1",
                "OMP_NUM_THREADS": "1",
                **{f"IMPASTO_{name.upper()}": value for name, value in given.items()},
            }
            # Settings as the processes read them, but straight to the servers.
            self.config = Settings.model_validate({**given, **direct})
            self.client = redis.Redis.from_url(self.valkey.url, decode_responses=True, socket_timeout=60)
            exits.callback(self.client.close)
            self.store = JobStore(self.client, self.config)
            self.objects = open_objects(self.config)
            exits.callback(self._end_processes)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for process in self.processes:
                tail = process.log.read_text(errors="replace").splitlines()[-40:]
                print(f"--- {process.name} ({process.status})", *tail, sep="\n")
        self._exits.close()

    def start(self, name: str, command: list[str], **settings: object) -> Process:
        """Start a process with the rig's settings and some of its own."""
        environ, log = self._surroundings(name, settings)
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        return self._kept(Process(name, process, log))

    def bear(self, name: str, queue: Queue, *command: str, **settings: object) -> Process:
        """Start a process of a stage, `python -m` with this command, as `start` does but from the nursery."""
        if not nursery.WORKS:
            return self.start(name, [sys.executable, "-m", *command], **settings)
        environ, log = self._surroundings(name, settings)
        return self._kept(Process(name, nursery.of(str(queue)).start(command, environ, log), log))

    def _surroundings(self, name: str, settings: Mapping[str, object]) -> tuple[dict[str, str], Path]:
        """Environment and log of a process; the log is there from now on."""
        own = {f"IMPASTO_{key.upper()}": str(value) for key, value in settings.items()}
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        log.touch()
        return {**self.environ, **own}, log

    def _kept(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def worker_command(self, queue: Queue, altered: Sequence[str] = ()) -> list[str]:
        """What starts a worker, or what `tests.support.altered` makes of it."""
        module = ["tests.support.altered", *altered, "worker"] if altered else ["worker"]
        return [sys.executable, "-m", *module, str(queue)]

    def worker(
        self, queue: Queue, *, wait: bool = True, altered: Sequence[str] = (), **settings: object
    ) -> Process:
        """Start a worker, and wait until it advertises itself.

        Args:
            queue: its stage.
            wait: False to return at once.
            altered: what `tests.support.altered` is to make of it.
            settings: its own.
        """
        if altered:
            # Before the process imports what it is made of.
            process = self.start(str(queue), self.worker_command(queue, altered), **settings)
        else:
            process = self.bear(str(queue), queue, "worker", str(queue), **settings)
        if wait:
            wait_for(lambda: self.serves(process), f"the {queue} worker", START_SECONDS)
        return process

    def spoilt_painter(self, *, wait: bool = True, **settings: object) -> Process:
        """Start a paint worker that meets what `fault` names; see `tests.support.spoilt_worker`."""
        command = ("tests.support.spoilt_worker", "paint")
        process = self.bear("paint", Queue.PAINT, *command, test_fault=self._fault, **settings)
        if wait:
            wait_for(lambda: self.serves(process), "the spoilt painter", START_SECONDS)
        return process

    def fault(self, name: str | None) -> None:
        """What evaluations of spoilt painters meet from now on; None for nothing."""
        self._fault.unlink(missing_ok=True)
        if name is not None:
            # As one step: a painter may be reading.
            part = self._fault.with_suffix(".part")
            part.write_text(name)
            part.rename(self._fault)

    def serves(self, process: Process) -> bool:
        """Whether the worker advertises itself. Fails when it has ended."""
        assert process.status is None, process.log.read_text(errors="replace")[-2000:]
        return any(worker.name.endswith(f":{process.pid}") for worker in Workers(self.client).live())

    def api(self, port: int | None = None, **settings: object) -> tuple[Process, str]:
        """Start the API, on a free port by default; returns its process and address.

        However short the workers' leases are, its connections wait longer than a request may in all.
        """
        port = port or free_port()
        patient = {"redis_timeout": REDIS_SECONDS, "lease_seconds": REDIS_SECONDS + 10}
        process = self.start("api", gunicorn(), api_port=port, **{**patient, **settings})
        url = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.status is None, process.log.read_text(errors="replace")[-2000:]
            try:
                return httpx.get(f"{url}/healthz", timeout=5).is_success
            except httpx.TransportError:
                return False

        wait_for(answers, "the API", START_SECONDS)
        return process, url

    def picture(self, hue: int = 0, width: int = 96, height: int = 64) -> Picture:
        """A clean copy in the object store."""
        data = picture(width, height, hue)
        digest = hashlib.sha256(data).hexdigest()
        key = f"inputs/{digest}"
        self.objects.put(key, data, "image/png")
        return Picture(f"hue {hue}", key=key, sha256=digest, width=width, height=height)

    def submit(self, hue: int = 0, *, spec: Mapping[str, Any] = SMALL, **changes: Any) -> Job:
        """A job that waits for paint; keyword arguments are fields of `NewJob`."""
        resolved = resolve(dict(spec), BACKBONES["compact"])
        job = new_job(
            spec=resolved,
            content=self.picture(hue),
            styles=(self.picture(hue + 100),),
            skip_intake=True,
            **changes,
        )
        return self.store.submit(job).job

    def submit_urls(self, content: str, *styles: str, spec: Mapping[str, Any] = SMALL, **changes: Any) -> Job:
        """A job that waits for intake; keyword arguments are fields of `NewJob`."""
        resolved = resolve(dict(spec), BACKBONES["compact"])
        pictures = tuple(map(Picture, styles))
        return self.store.submit(
            new_job(spec=resolved, content=Picture(content), styles=pictures, **changes)
        ).job

    def fetched(self, job: Job, seconds: float = 60.0) -> Job:
        """The job, once its pictures are in."""

        def through() -> Job | None:
            now = self.now(job)
            assert not now.status.terminal or now.started_at, f"{now.status}: {now.error}"
            return None if now.stage is Stage.FETCHING else now

        return wait_for(through, f"the pictures of {job.uid} to be in", seconds)

    def now(self, job: Job) -> Job:
        """The job's record as it is."""
        found = self.store.by_uid(job.uid)
        assert found is not None
        return found

    def painting(self, job: Job, *, step: int = 1, seconds: float = 60.0, by: Process | None = None) -> Job:
        """The job, once it is painted, by this worker where one is given, and has come to this step."""

        def far_enough() -> Job | None:
            now = self.now(job)
            assert not now.status.terminal, f"{now.status}: {now.error}"
            if by is not None and not (now.worker or "").endswith(f":{by.pid}"):
                return None
            return now if now.progress and now.progress.step >= step else None

        return wait_for(far_enough, f"{job.uid} to be painted to step {step}", seconds)

    def ended(self, job: Job, seconds: float = 90.0) -> Job:
        """The job, once it has ended."""
        return wait_for(
            lambda: now if (now := self.now(job)).status.terminal else None, f"{job.uid} to end", seconds
        )

    def output_keys(self, job: Job) -> list[str]:
        """What is stored as a result of the job."""
        return [stat.key for stat in self.objects.list(f"outputs/{job.uid}/")]

    def outputs(self, job: Job) -> dict[str, bytes]:
        """Every object that was stored as a result of the job, by key."""
        return {key: self.objects.get(key) for key in self.output_keys(job)}

    def has_its_one_result(self, job: Job) -> None:
        """Assert that a succeeded job has one result, whole and readable."""
        assert job.output is not None
        key = job.output.key
        # What an attempt before has left goes after the job's end, and a listing may lag behind its store.
        wait_for(lambda: self.output_keys(job) == [key], f"{key} to be the only result")
        data = self.objects.get(key)
        assert hashlib.sha256(data).hexdigest() == job.output.sha256
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (job.output.width, job.output.height)

    def audit(self) -> Snapshot:
        """Assert that the store's records and indexes agree."""
        return audit(self.client)

    def _end_processes(self) -> None:
        for process in self.processes:
            process.end()

    def _end_valkey(self) -> None:
        self.valkey.thaw()
        self.valkey.kill()

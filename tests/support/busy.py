"""A job store and an object store with something of everything in them, and threads that keep both moving."""

import hashlib
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Self

from shared.errors import Conflict, Fault, NotFound, PictureUnreadable
from shared.ids import new_id
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import Attempt, DeliveryLostError, Load, Outcome
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.record import Checkpoint, Job, Output, Queue, Webhook
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.pictures import keep
from shared.pictures.sandbox import CleanPicture
from tests.support.jobs import UNSTORED, new_job

PNG = "image/png"


class Studio:
    """Plays callers and workers on a real store, objects included."""

    def __init__(self, store: JobStore, objects: ObjectStore) -> None:
        self.store, self.objects = store, objects

    def picture(self, name: str) -> Picture:
        """A clean copy, held until a job or an upload names it."""
        data = name.encode() * 9
        clean = CleanPicture(data, hashlib.sha256(data).hexdigest(), 64, 48)
        return keep(clean, self.store, self.objects, source=name)

    def submit(self, content: str = "bridge", **changes: object) -> Job:
        """A job that waits for paint."""
        pictures = {"content": self.picture(content), "styles": (self.picture("starry"),)}
        return self.store.submit(new_job(**{**pictures, "skip_intake": True, **changes})).job

    def upload(self, name: str, owner: str = "ann") -> str:
        """An upload's ID."""
        upload_id = new_id("up")
        self.store.add_upload(owner, upload_id, self.picture(name))
        return upload_id

    def fetch(self, claim: Claim) -> None:
        """Intake brings a job's pictures in."""
        pictures = claim.job.inputs.changed(
            lambda picture: replace(self.picture(picture.source), source=picture.source)
        )
        self.store.advance(claim, pictures.content, pictures.styles, {"fetch": 0.1})

    def checkpoint(self, claim: Claim, number: int = 1) -> str:
        """Half of it is painted; returns the checkpoint's key."""
        key = f"checkpoints/{claim.job.uid}/{claim.fence}-{number}"
        self.objects.put(key, b"half", "application/octet-stream")
        replaced = self.store.checkpoint(claim, Checkpoint(key, step=number))
        if replaced:
            self.objects.delete(replaced)
        return key

    def preview(self, claim: Claim) -> str:
        """A look at it; returns the preview's key."""
        key = f"previews/{claim.job.uid}"
        self.objects.put(key, b"look", "image/jpeg")
        self.store.renew(claim, preview_key=key)
        return key

    def finish(self, claim: Claim) -> str:
        """It is painted; returns the result's key."""
        data = claim.fence.encode()
        key = f"outputs/{claim.job.uid}/{claim.fence}.png"
        self.objects.put(key, data, PNG)
        output = Output(key, hashlib.sha256(data).hexdigest(), len(data), 64, 48, PNG)
        self.store.finish(claim, output, seconds={"paint": 1.5}, evaluations=9, loss={"style": 0.25})
        self.tidy(claim)
        return key

    def tidy(self, claim: Claim) -> None:
        """What only a running job needs goes."""
        found = self.store.by_uid(claim.job.uid)
        keys = [f"previews/{claim.job.uid}", found.checkpoint.key if found and found.checkpoint else None]
        for key in filter(None, keys):
            self.objects.delete(key)

    def purge(self, job: Job) -> None:
        """An ended job goes with its objects."""
        for key in self.store.purge(job.owner, job.id).keys:
            self.objects.delete(key)


class Crowd:
    """Threads that submit, fetch, paint, cancel and purge, seeded, until the block ends."""

    def __init__(self, studio: Studio, threads: int, seed: int = 1) -> None:
        self._studio = studio
        self._deliveries = DeliveryStore(studio.store._redis, studio.store._settings)
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed} {n}"), n)) for n in range(threads)
        ]
        self.steps = 0
        self.errors: list[Exception] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self, chance: random.Random, number: int) -> None:
        actions: list[Callable[[random.Random, str], None]] = [
            self._submit,
            self._submit,
            self._intake,
            self._paint,
            self._paint,
            self._purge,
            self._purge,
            self._deliver,
        ]
        while not self._ended.is_set():
            try:
                with suppress(LeaseLostError, NotFound, Conflict):
                    chance.choice(actions)(chance, f"worker-{number}")
            except Exception as error:  # noqa: BLE001 - the test says what went wrong in a thread
                self.errors.append(error)
                return
            self.steps += 1

    def _submit(self, chance: random.Random, _: str) -> None:
        owner = f"owner-{chance.randrange(4)}"
        studio = self._studio
        hook = Webhook(f"https://hooks-{chance.randrange(3)}.example.org/") if chance.random() < 0.5 else None
        if chance.random() < 0.5:
            job = studio.submit(
                f"picture {chance.randrange(9)}",
                owner=owner,
                id=f"own-{time.monotonic_ns()}",
                webhook=hook,
                fresh=chance.random() < 0.3,
                priority=chance.choice((0, 0, 5)),
            )
        else:
            name = f"picture {chance.randrange(9)}"
            source = f"upload:{studio.upload(name, owner)}" if chance.random() < 0.3 else name
            fresh = chance.random() < 0.3
            new: NewJob = new_job(owner, content=Picture(source), webhook=hook, fresh=fresh)
            job = studio.store.submit(new).job
        if chance.random() < 0.1:
            studio.store.cancel(owner, job.id)

    def _intake(self, chance: random.Random, worker: str) -> None:
        claim = self._studio.store.claim(Queue.INTAKE, worker)
        if claim is None:
            return
        if chance.random() < 0.2:
            self._fail(claim, chance)
        else:
            self._studio.fetch(claim)

    def _paint(self, chance: random.Random, worker: str) -> None:
        studio = self._studio
        claim = studio.store.claim(Queue.PAINT, worker, ("compact",))
        if claim is None:
            return
        for number in range(chance.randrange(4)):
            studio.checkpoint(claim, number)
            studio.preview(claim)
        match chance.randrange(6):
            case 0:
                studio.store.release(claim)
            case 1:
                self._fail(claim, chance)
            case 2:
                studio.store.canceled(claim)
                studio.tidy(claim)
            case _:
                studio.finish(claim)

    def _deliver(self, chance: random.Random, _: str) -> None:
        outcomes = [Outcome.DELIVERED, Outcome.AGAIN, Outcome.AGAIN, Outcome.FAILED, Outcome.GONE]
        for claim in self._deliveries.claim(Load(room=8, host_slots=4, owner_slots=6)):
            with suppress(DeliveryLostError):
                attempt = Attempt(at=1, ms=1)
                self._deliveries.settle(claim, attempt, chance.choice(outcomes), chance.random())

    def _fail(self, claim: Claim, chance: random.Random) -> None:
        fault: Fault = UNSTORED if chance.random() < 0.7 else PictureUnreadable("no picture")
        if self._studio.store.fail(claim, fault).status.terminal:
            self._studio.tidy(claim)

    def _purge(self, chance: random.Random, _: str) -> None:
        owner = f"owner-{chance.randrange(4)}"
        jobs = [job for job in self._studio.store.list(owner, limit=50).jobs if job.status.terminal]
        if jobs:
            self._studio.purge(chance.choice(jobs))
        self._studio.store.reap()

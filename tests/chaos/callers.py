"""The callers: real clients that hand in jobs, note every 202, cancel some, follow all and fetch pictures.

What they ask for, and when, is decided by the seed; how they put up with a service that is away is the
client's own patience, nothing is added to it here.
"""

import hashlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from client import ApiError, Impasto, ImpastoError, Job
from client.retries import Retries
from tests.integration.service.support import picture
from tests.support.proxy import FaultProxy, Way, cut_when, pass_on
from tests.support.web import Web

#: Of the run, the part in which jobs are handed in.
SUBMITTING = 0.9
#: Some of what is asked for: the rest waits for its picture.
CANCELED, DEADLINED, BY_URL = 0.08, 0.05, 0.35
#: Of the submits, those whose first 202 is cut off on its way: the caller cannot know, and asks again.
CUT_OFF = 0.1
#: Seconds between two polls of one caller.
POLL_SECONDS = 0.2
#: A frozen API is left after this long, and asked again.
TIMEOUT = 5.0
#: So many tries outlast any outage of the schedule.
PATIENCE = Retries(attempts=150, first_seconds=0.2, longest_seconds=1.5)
CONFLICT = 409

Spec = dict[str, Any]
#: What is painted, and how often. The pyramid begins at 64 px.
SPECS: Sequence[tuple[float, Spec]] = (
    (0.7, {"size": 64, "steps": 40}),
    (0.1, {"size": 64, "steps": 250}),
    (0.2, {"size": 128, "steps": 80, "pyramid": 2}),
)


@dataclass(frozen=True)
class Request:
    """One job to be handed in.

    Attributes:
        number: counted over all callers. at: seconds of the run.
        spec: of the job. hues: of content and style.
        by_url: fetched by intake; uploaded otherwise.
        cancel_after: seconds from the 202 to a cancel; None to let it be.
        deadline: seconds; None for the service's own.
        cut_off: the first 202 does not arrive.
    """

    number: int
    at: float
    spec: Spec
    hues: tuple[int, int]
    by_url: bool
    cancel_after: float | None
    deadline: float | None
    cut_off: bool = False

    @property
    def key(self) -> str:
        """Its Idempotency-Key, which its metadata holds too."""
        return f"chaos-{self.number}"

    @property
    def may_end_early(self) -> bool:
        """Whether it may end without a picture and without a fault."""
        return self.cancel_after is not None or self.deadline is not None


def requests(seed: int, jobs: int, seconds: float) -> list[Request]:
    """What is asked for in a run, in order; the same seed asks for the same."""
    generator, answers = random.Random(f"requests {seed}"), random.Random(f"answers {seed}")
    weights, specs = zip(*SPECS, strict=True)
    found = []
    for number in range(jobs):
        fate = generator.random()
        cancel = generator.uniform(0, 4) if fate < CANCELED else None
        deadline = generator.uniform(1, 5) if CANCELED <= fate < CANCELED + DEADLINED else None
        found.append(
            Request(
                number,
                (number + generator.random()) * SUBMITTING * seconds / jobs,
                generator.choices(specs, weights)[0],
                # Each picture comes up several times, and new ones all along.
                (number // 9, 100 + number // 12),
                generator.random() < BY_URL,
                cancel,
                deadline,
                answers.random() < CUT_OFF,
            )
        )
    return found


@dataclass
class Accepted:
    """A job that was answered 202.

    Attributes:
        ended: its terminal status as first seen by the caller. fetched: the picture's SHA-256 as downloaded.
        cancel_at: when it is to be canceled, by the monotonic clock.
    """

    request: Request
    id: str
    cancel_at: float | None
    ended: str | None = None
    fetched: str | None = None


@dataclass
class Caller:
    """One client, with a thread that hands in and one that follows.

    Args:
        url: of the API. web: where pictures by URL are. folder: for downloads.
        requests: its own.

    Attributes:
        accepted: every job that was answered 202.
        refusals: what went wrong beyond what the client puts up with.
    """

    url: str
    web: Web
    folder: Path
    requests: Sequence[Request]
    accepted: list[Accepted] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._uploaded: dict[int, str] = {}
        self._submitted, self._over = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"caller-{work.__name__}", daemon=True)
            for work in (self._submit_all, self._follow_all)
        ]
        self._begun = 0.0

    def start(self) -> None:
        """Begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._begun = time.monotonic()
        for thread in self._threads:
            thread.start()

    def finish(self, deadline: float) -> bool:
        """Wait until every job has ended, or for the deadline (monotonic); whether every one has."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._over.set()
        return not any(thread.is_alive() for thread in self._threads)

    def _submit_all(self) -> None:
        port = urlsplit(self.url).port
        assert port is not None
        with (
            FaultProxy(port) as proxy,
            Impasto(proxy.url("http"), timeout=TIMEOUT, retries=PATIENCE) as impasto,
        ):
            for request in self.requests:
                if self._over.wait(max(0.0, self._begun + request.at - time.monotonic())):
                    break
                proxy.rule = cut_when(_accepts) if request.cut_off else pass_on
                try:
                    job = self._submit(impasto, request)
                except ImpastoError as error:
                    self.refusals.append(f"{request.key} was refused: {error}")
                    continue
                after = request.cancel_after
                at = None if after is None else time.monotonic() + after
                self.accepted.append(Accepted(request, job.id, at))
        self._submitted.set()

    def _submit(self, impasto: Impasto, request: Request) -> Job:
        content, style = (
            self.web.url + path_of(hue) if request.by_url else self._upload(impasto, hue)
            for hue in request.hues
        )
        return impasto.submit(
            content,
            [style],
            spec={"backbone": "compact", "pyramid": 1, **request.spec, "seed": request.number},
            metadata={"key": request.key},
            deadline_seconds=request.deadline,
            idempotency_key=request.key,
        )

    def _upload(self, impasto: Impasto, hue: int) -> str:
        if hue not in self._uploaded:
            self._uploaded[hue] = impasto.upload(picture(hue=hue)).ref
        return self._uploaded[hue]

    def _follow_all(self) -> None:
        with Impasto(self.url, timeout=TIMEOUT, retries=PATIENCE) as impasto:
            while not self._over.is_set():
                done = self._submitted.is_set()
                left = [one for one in self.accepted if one.ended is None]
                if done and not left:
                    return
                for one in left:
                    self._follow(impasto, one)
                    if self._over.wait(POLL_SECONDS):
                        return
                self._over.wait(POLL_SECONDS)

    def _follow(self, impasto: Impasto, one: Accepted) -> None:
        try:
            if one.cancel_at is not None and time.monotonic() >= one.cancel_at:
                one.cancel_at = None
                _cancel(impasto, one.id)
            job = impasto.get(one.id)
            if job.succeeded:
                path = impasto.download(job, self.folder / one.id)
                one.fetched = hashlib.sha256(path.read_bytes()).hexdigest()
                path.unlink()
        except ImpastoError as error:
            self.refusals.append(f"{one.request.key} ({one.id}) could not be followed: {error}")
            return
        if job.ended:
            one.ended = job.status


def serve_pictures(web: Web, asked: Sequence[Request]) -> None:
    """Put on the web what is asked for by URL."""
    for hue in {hue for request in asked if request.by_url for hue in request.hues}:
        web.file(path_of(hue), picture(hue=hue))


def path_of(hue: int) -> str:
    """Where a picture is on the web."""
    return f"/{hue}.png"


def _accepts(way: Way, chunk: bytes) -> bool:
    """Whether this is the answer to a submit that was taken."""
    return way is Way.ANSWERED and chunk.startswith(b"HTTP/1.1 202")


def _cancel(impasto: Impasto, job_id: str) -> None:
    try:
        impasto.cancel(job_id)
    except ApiError as error:
        if error.status != CONFLICT:  # it has ended meanwhile
            raise

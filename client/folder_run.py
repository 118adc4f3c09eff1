"""Painting a folder: every picture handed in once, every painting stored once, however often it is begun.

What is about to be asked for is noted before it is, under an ID or key that a later run finds again. So a run
that was killed anywhere goes on: a job that was accepted without our hearing of it is met under its ID, a
batch under its key. How the pictures get to the service is the business of `client.folder_ways`. Nothing here
prints; `Report` is told what happens.
"""

import hashlib
import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from client.api import Impasto
from client.errors import ApiError, ImpastoError, JobFailed
from client.files import sha256_of
from client.folder import Walk, folded, painting_of, stem_of
from client.formats import USUAL, format_in
from client.ledger import Ledger
from client.many import concerns_all
from client.models import Image, Job, JobError, Request, Style
from client.paintings import PAINTING, Paintings
from client.pictures import plain_spec, reference

T = TypeVar("T")
R = TypeVar("R")

LEDGER = ".impasto-batch.jsonl"
#: An upload that is deleted sooner than this is not relied on.
_MARGIN = timedelta(hours=1)
_FILE, _UPLOAD, _RUN = "file", "upload", "run"
#: A folder has the name of a painting, or a file that of a folder for paintings: no trouble of the others.
_IN_THE_WAY = (FileExistsError, IsADirectoryError, NotADirectoryError)


class OtherRunError(ImpastoError):
    """The folder holds the paintings of a run that asked for something else."""


class Report(Protocol):
    """Who is told of the run."""

    def begins(self, total: int, painted: int) -> None:
        """So many pictures are there, and so many have been painted before."""
        ...

    def ended(self, name: str, status: str) -> None:
        """A picture is painted and stored, or will not be."""
        ...

    def waits(self, eta_seconds: float | None) -> None:
        """How long the service thinks that the rest will take."""
        ...


@dataclass(frozen=True)
class Asked:
    """What every picture of the run is asked to become.

    Attributes:
        styles: pictures to paint after.
        init: the picture to start from.
        spec, metadata, priority, deadline_seconds, fresh: as in a `Request`.
    """

    styles: Sequence[Style]
    init: str | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    priority: int | None = None
    deadline_seconds: float | None = None
    fresh: bool | None = None

    def pictures(self) -> Iterator[Image]:
        """Every picture that it names."""
        for style in self.styles:
            yield from (one for one in (style.image, style.mask, style.region) if one is not None)
        if self.init is not None:
            yield self.init

    def fingerprint(self) -> str:
        """The same for what paints the same: pictures count by their content."""

        def known(picture: Image | None) -> str | None:
            if picture is None:
                return None
            return reference(picture) or sha256_of(Path(str(picture)))

        plain = {
            "styles": [
                [known(style.image), style.weight, known(style.mask), known(style.region)]
                for style in self.styles
            ],
            "init": known(self.init),
            "spec": plain_spec(self.spec),
        }
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Fate:
    """What became of one picture.

    Attributes:
        name: its path below the folder.
        status: succeeded, failed, canceled, expired; refused where it was not even accepted; painted where
            only its painting could not be collected.
        painting: the painting's path below the other folder.
        error: why there is none.
    """

    name: str
    status: str
    job: str | None = None
    painting: str | None = None
    error: JobError | None = None


class FolderRun:
    """One run over a folder. Use it as a context manager; leaving it waits for what is being stored.

    Args:
        impasto: the service.
        walk: the pictures.
        out: the folder for the paintings; what is known of the run is kept there.
        asked: what they are to become.
        report: who is told.
        in_flight: uploads, requests and downloads at once, of each kind.
        restart: paint everything again, whatever an earlier run has done.
        again: hand in again what has failed, expired or been canceled before.

    Raises:
        OtherRunError: an earlier run into this folder asked for something else.
        ImpastoError: another process is at work there.
    """

    def __init__(
        self,
        impasto: Impasto,
        walk: Walk,
        out: Path,
        asked: Asked,
        report: Report,
        *,
        in_flight: int = 8,
        restart: bool = False,
        again: bool = False,
    ) -> None:
        self._impasto, self._walk, self._out, self._asked, self._report = impasto, walk, out, asked, report
        self.in_flight = in_flight
        self._again = again
        fingerprint = asked.fingerprint()
        self.ledger = Ledger(out / LEDGER, only=PAINTING if restart else None)
        self._paintings = Paintings(out, self.ledger)
        run = self.ledger.get(_RUN, "")
        if run and run["asked"] != fingerprint:
            self.ledger.close()
            raise OtherRunError(
                f"{out} holds the paintings of a run with other styles or another spec: choose another "
                "folder, or paint all of it again with --restart"
            )
        if not run:
            self.ledger.note(_RUN, "", asked=fingerprint, token=secrets.token_hex(6))
        self._token: str = self.ledger.get(_RUN, "")["token"]
        # A file that could never be read has none.
        self._stems = {folded(facts["stem"]) for _, facts in self.ledger.all(_FILE) if "stem" in facts}
        self._pool = ThreadPoolExecutor(in_flight, "impasto-folder")
        self._room = threading.BoundedSemaphore(4 * in_flight)
        self._saves: list[Future[None]] = []
        self._sharing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        self.ledger.close()

    def begin(self) -> list[str]:
        """Look at the folder; returns the pictures that have no painting yet."""
        names = self._walk.names()
        left: list[str] = []
        amiss: dict[str, OSError] = {}
        for name in names:
            try:
                if not self._done(name):
                    self._look_ahead(name)
                    left.append(name)
            except OSError as error:
                amiss[name] = error
        self._report.begins(len(names), len(names) - len(left) - len(amiss))
        for name, fault in amiss.items():
            self.refused(name, fault)
        return left

    def request(self, name: str) -> Request:
        """What a picture is asked to become. It and what goes with it are uploaded, each content once.

        Raises:
            OSError: a file cannot be read.
        """
        shared = self.shared(self.shared_references())
        return replace(shared, content=self.content(name), id=self.id_of(name))

    def content(self, name: str) -> str:
        """What names a picture in a request."""
        return self.reference(self._walk.folder / name)

    def shared_references(self) -> dict[str, str]:
        """What names each picture that all requests share. They are uploaded first, by one thread."""
        with self._sharing:
            return {str(picture): self.reference(picture) for picture in self._asked.pictures()}

    def shared(self, names: Mapping[str, str]) -> Request:
        """What all pictures are asked to become, without a content.

        Args:
            names: as from `shared_references`.
        """

        def named(picture: Image | None) -> str | None:
            return None if picture is None else names[str(picture)]

        styles = [
            Style(names[str(one.image)], one.weight, named(one.mask), named(one.region))
            for one in self._asked.styles
        ]
        alone = len(styles) == 1 and styles[0] == Style(styles[0].image)
        return Request(
            "",
            [styles[0].image] if alone else styles,
            init=named(self._asked.init),
            spec=self._asked.spec or None,
            metadata=self._asked.metadata or None,
            priority=self._asked.priority,
            deadline_seconds=self._asked.deadline_seconds,
            fresh=self._asked.fresh,
        )

    def reference(self, picture: Image) -> str:
        """What names a picture in a request: its address, or an upload that is still kept."""
        if (name := reference(picture)) is not None:
            return name
        path = Path(str(picture))
        digest = sha256_of(path)
        known = self.ledger.get(_UPLOAD, digest)
        if known and datetime.fromisoformat(known["until"]) - _MARGIN > datetime.now(UTC):
            return str(known["ref"])
        upload = self._impasto.upload(path)
        until = upload.expires_at or datetime.now(UTC) + 2 * _MARGIN
        self.ledger.note(_UPLOAD, digest, ref=upload.ref, until=until.isoformat())
        return upload.ref

    def forget_uploads(self) -> None:
        """The service has deleted what was uploaded: hand it in anew when it is needed."""
        for digest, _ in self.ledger.all(_UPLOAD):
            self.ledger.forget(_UPLOAD, digest)

    def id_of(self, name: str) -> str:
        """The ID of a picture's job: the same in every run, another for other content or a further try."""
        facts = self.ledger.get(_FILE, name)
        one = f"{name}\0{facts['sha256']}\0{facts['turn']}"
        digest = hashlib.sha256(one.encode("utf-8", "surrogateescape"))
        return f"folder-{self._token}-{digest.hexdigest()[:24]}"

    def accepted(self, name: str, job: str) -> None:
        """The service has a picture's job."""
        self.ledger.note(_FILE, name, job=job)

    def refused(self, name: str, error: Exception) -> None:
        """The service, or this machine, will not have a picture."""
        if isinstance(error, ApiError):
            faults = "; ".join(f"{one.pointer}: {one.detail}" for one in error.errors)
            said = {"code": error.code, "title": error.title, "detail": faults or error.detail}
        elif isinstance(error, FileExistsError):
            title = "There is no room for its painting"
            said = {"code": "in_the_way", "title": title, "detail": str(error)}
        else:
            title = "The picture cannot be handed in"
            said = {"code": "unreadable", "title": title, "detail": str(error)}
        self.ledger.note(_FILE, name, status="refused", error=said)
        self._report.ended(name, "refused")

    def ended(self, name: str, job: Job) -> None:
        """A picture's job has ended: its painting is stored, beside everything else that goes on."""
        if not job.succeeded:
            error = job.error
            said = error and {"code": error.code, "title": error.title, "detail": error.detail}
            self.ledger.note(_FILE, name, job=job.id, status=job.status, error=said)
            self._report.ended(name, job.status)
            return
        self.ledger.note(_FILE, name, job=job.id, status="painted", error=None)
        self._raise_what_failed()
        self._room.acquire()
        self._saves.append(self._pool.submit(self._save, name, job))

    def ahead(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, Future[R]]]:
        """Do something for each item, some of them side by side; in order, and no further ahead than that."""
        begun: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            begun.append((item, self._pool.submit(work, item)))
            if len(begun) > self.in_flight:
                yield begun.popleft()
        yield from begun

    def finish(self) -> list[Fate]:
        """Wait for what is being stored; returns what became of each picture."""
        for save in self._saves:
            save.result()
        self._saves.clear()
        return [self._fate(name) for name in self._walk.names()]

    def known(self, name: str) -> Mapping[str, Any]:
        """What is noted about a picture."""
        return self.ledger.get(_FILE, name)

    def another_turn(self, name: str) -> None:
        """Hand a picture in again, under another ID: its job is gone."""
        turn = self.known(name)["turn"]
        self.ledger.note(_FILE, name, turn=turn + 1, job=None, status=None, error=None, part=None)

    def _done(self, name: str) -> bool:
        """Whether a picture has its painting, or has failed for good; what has changed begins anew."""
        path = self._walk.folder / name
        stat = path.stat()
        facts = self.ledger.get(_FILE, name)
        if (facts.get("size"), facts.get("mtime")) != (stat.st_size, stat.st_mtime_ns):
            digest = sha256_of(path)
            if facts.get("sha256") != digest:
                stem = facts.get("stem") or stem_of(name, self._stems)
                self._stems.add(folded(stem))
                self.ledger.forget(_FILE, name)
                self.ledger.note(_FILE, name, sha256=digest, stem=stem, turn=1)
            self.ledger.note(_FILE, name, size=stat.st_size, mtime=stat.st_mtime_ns)
            facts = self.ledger.get(_FILE, name)
        status = facts.get("status")
        if status == "succeeded":
            painting = self._out / facts["painting"]
            if painting.is_file() and painting.stat().st_size == facts["bytes"]:
                return True
            self.ledger.note(_FILE, name, status="painted")
        elif status == "refused" or (status not in (None, "painted") and self._again):
            self.another_turn(name)
        elif status not in (None, "painted"):
            return True
        return False

    def _look_ahead(self, name: str) -> None:
        """See whether the painting of a picture that is yet to be handed in will have a place.

        Raises:
            FileExistsError: something that no run has made has it.
        """
        facts = self.known(name)
        if "job" not in facts and "part" not in facts:
            file_format = self._asked.spec.get("output_format", USUAL)
            self._paintings.look(painting_of(name, facts["stem"], file_format))

    def _save(self, name: str, job: Job) -> None:
        try:
            painting = self._store(name, job)
        except (ImpastoError, *_IN_THE_WAY) as error:
            if isinstance(error, ImpastoError) and concerns_all(error):
                raise
            said = {"code": "not_stored", "title": "The painting was not collected", "detail": str(error)}
            self.ledger.note(_FILE, name, error=said)
            self._report.ended(name, "painted")
        else:
            size = (self._out / painting).stat().st_size
            self.ledger.note(_FILE, name, status="succeeded", painting=painting, bytes=size, error=None)
            self._report.ended(name, "succeeded")
        finally:
            self._room.release()

    def _store(self, name: str, job: Job) -> str:
        """Download a painting; returns its path below the folder for the paintings."""
        if job.output is None:
            raise JobFailed(job)
        painting = painting_of(name, self.known(name)["stem"], format_in(job.output.content_type))
        self._paintings.store(painting, job.output.sha256, lambda target: self._impasto.download(job, target))
        return painting

    def _raise_what_failed(self) -> None:
        done = [save for save in self._saves if save.done()]
        self._saves = [save for save in self._saves if save not in done]
        for save in done:
            save.result()

    def _fate(self, name: str) -> Fate:
        facts = self.ledger.get(_FILE, name)
        error = facts.get("error")
        return Fate(
            name,
            facts.get("status", "queued"),
            facts.get("job"),
            facts.get("painting"),
            JobError(error["code"], error["title"], error["detail"]) if error else None,
        )

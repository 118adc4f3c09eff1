"""The two ways from a folder to the service: job by job, and in batches.

Both note what they are about to ask for before they do, and begin with what an earlier run has left.
"""

import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from client.api import Impasto
from client.errors import ApiError
from client.folder_run import FolderRun, Report
from client.models import TERMINAL, Batch, Job, Request

#: Pictures of one batch: few enough that painting begins soon.
PART_PICTURES = 500
#: Batches that may be open at a time, and pictures handed in one by one.
_OPEN_PARTS, _OPEN_JOBS = 20, 2000
#: Seconds between two looks at a batch: at first, and at most.
_SOON_SECONDS, _LATE_SECONDS = 1.0, 5.0
#: Seconds to wait before each look for jobs that were on their way when they were to be canceled.
_LATECOMERS_SECONDS = (0.0, 0.5, 1.0, 2.0)
#: After so many seconds a key may be forgotten by the service, which keeps it for a day.
_KEY_SECONDS = 20 * 3600.0
#: Name in a batch's metadata, for finding it again without its key.
_MARK = "impasto-part"
_PART = "part"


class Way(Protocol):
    """How pictures get to the service, and their paintings back."""

    def paint(self, names: Sequence[str]) -> None:
        """Have these painted; returns when each has ended."""
        ...

    def cancel(self) -> int:
        """Stop what has not ended; returns how many jobs or batches that were."""
        ...


class ByJobs:
    """Every picture is a job of its own, under an ID of ours."""

    def __init__(self, impasto: Impasto, run: FolderRun) -> None:
        self._impasto, self._run = impasto, run
        self._names: dict[str, str] = {}
        self._unsent: list[str] = []

    def paint(self, names: Sequence[str]) -> None:
        """See `Way`."""
        self._paint(names)
        if self._unsent:
            # Their uploads were gone, as they are when a run goes on after days.
            self._run.forget_uploads()
            names, self._unsent = self._unsent, []
            self._paint(names)
            for name in self._unsent:
                self._run.refused(name, ApiError(422, "upload_not_found", "The upload is gone at once"))

    def cancel(self) -> int:
        """See `Way`."""
        known = self._run.ledger.all("file")
        noted = {facts["job"] for _, facts in known if "job" in facts and "status" not in facts}
        ended = {facts.get("job") for _, facts in self._run.ledger.all("file") if "status" in facts}
        # What is being handed in this moment is met a little later.
        left, canceled = (noted | set(self._names)) - ended, 0
        for pause in _LATECOMERS_SECONDS:
            time.sleep(pause)
            outcomes = {job: _canceled(self._impasto, job) for job in sorted(left)}
            canceled += sum(outcome is True for outcome in outcomes.values())
            left = {job for job, outcome in outcomes.items() if outcome is None}
            if not left:
                break
        return canceled

    def _paint(self, names: Sequence[str]) -> None:
        watched = self._accepted(names)
        for job in self._impasto.as_completed(watched, window=_OPEN_JOBS, in_flight=self._run.in_flight):
            self._run.ended(self._names[job.id], job)

    def _accepted(self, names: Sequence[str]) -> Iterator[str]:
        """IDs of jobs that the service has, those of an earlier run first."""
        fresh = [name for name in names if "job" not in self._run.known(name)]
        before = [name for name in names if "job" in self._run.known(name)]
        for name, found in self._run.ahead(self._known_job, before):
            if found.result():
                yield self._watched(name, self._run.known(name)["job"])
            else:
                self._run.another_turn(name)
                fresh.append(name)
        for outcome in self._impasto.submit_many(self._requests(fresh), in_flight=self._run.in_flight):
            name = self._names[outcome.request.id or ""]
            error = outcome.error
            if outcome.job is not None:
                self._run.accepted(name, outcome.job.id)
                yield outcome.job.id
            elif isinstance(error, ApiError) and error.status == HTTPStatus.CONFLICT:
                # An earlier run has handed it in, without hearing of it, from another upload of the same.
                job = self._impasto.get(outcome.request.id or "")
                self._run.accepted(name, job.id)
                yield job.id
            elif isinstance(error, ApiError) and error.code == "upload_not_found":
                self._unsent.append(name)
            else:
                _raise_what_concerns_all(error)
                self._run.refused(name, error or AssertionError())

    def _requests(self, names: Sequence[str]) -> Iterator[Request]:
        for name, made in self._run.ahead(self._run.request, names):
            try:
                request = made.result()
            except (ApiError, OSError) as error:
                _raise_what_concerns_all(error)
                self._run.refused(name, error)
            else:
                self._watched(name, request.id or "")
                yield request

    def _watched(self, name: str, job: str) -> str:
        self._names[job] = name
        return job

    def _known_job(self, name: str) -> bool:
        try:
            self._impasto.get(self._run.known(name)["job"])
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            return False
        return True


@dataclass
class _Part:
    """A batch of ours that is open.

    Attributes:
        key: what it is noted under.
        names: its pictures by custom ID.
        batch: its ID.
        left: pictures that have not ended.
        seen: items that had ended, by status, when they were gone through last.
        look_at: when to look next, on the monotonic clock.
        pause: seconds until the look after.
    """

    key: str
    names: dict[str, str]
    batch: str
    left: set[str]
    seen: dict[str, int] = field(default_factory=dict)
    look_at: float = 0.0
    pause: float = _SOON_SECONDS


class ByBatches:
    """Pictures go in parts, each a batch; what ends is collected while the rest is painted."""

    def __init__(
        self, impasto: Impasto, run: FolderRun, report: Report, part_pictures: int = PART_PICTURES
    ) -> None:
        self._impasto, self._run, self._report = impasto, run, report
        self._part_pictures = part_pictures
        self._open: list[_Part] = []
        self._unsent: set[str] = set()  # pictures whose uploads were gone once

    @staticmethod
    def offered(impasto: Impasto) -> bool:
        """Whether the service takes batches."""
        try:
            next(impasto.batches.list(page_size=1), None)
        except ApiError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
                raise
            return False
        return True

    def paint(self, names: Sequence[str]) -> None:
        """See `Way`."""
        fresh = self._go_on(names)
        while fresh or self._open:
            if fresh and len(self._open) < _OPEN_PARTS:
                some = [fresh.popleft() for _ in range(min(self._part_pictures, len(fresh)))]
                self._hand_in(some)
            for part in [part for part in self._open if part.look_at <= time.monotonic()]:
                self._look(part, fresh)
            if self._open and (not fresh or len(self._open) >= _OPEN_PARTS):
                due = min(part.look_at for part in self._open)
                time.sleep(max(0.0, due - time.monotonic()))

    def cancel(self) -> int:
        """See `Way`."""
        for key, facts in list(self._run.ledger.all(_PART)):
            if "batch" not in facts:
                self._send(key)  # it may have got there: its key tells
        parts = [facts for _, facts in self._run.ledger.all(_PART)]
        return sum(_canceled(self._impasto.batches, part["batch"]) is True for part in parts)

    def _go_on(self, names: Sequence[str]) -> deque[str]:
        """Take up the parts of an earlier run; returns the pictures that are in none."""
        names = [name for name in names if not self._painted_before(name)]
        left = set(names)
        fresh = [name for name in names if "part" not in self._run.known(name)]
        for key, facts in list(self._run.ledger.all(_PART)):
            mine = [
                name for name in facts["names"] if name in left and self._run.known(name).get("part") == key
            ]
            if not mine:
                self._run.ledger.forget(_PART, key)
            elif "batch" in facts:
                self._watch(key, facts["batch"], mine)
            else:
                self._send(key)
        taken = {name for part in self._open for name in part.left}
        return deque(dict.fromkeys([*fresh, *(name for name in names if name not in taken)]))

    def _hand_in(self, names: Sequence[str]) -> None:
        """Upload some pictures and note them as a part, then send it."""
        shared = self._run.shared_references()
        contents: dict[str, str] = {}
        for name, uploaded in self._run.ahead(self._run.content, names):
            try:
                contents[name] = uploaded.result()
            except (ApiError, OSError) as error:
                _raise_what_concerns_all(error)
                self._run.refused(name, error)
        if not contents:
            return
        key = uuid.uuid4().hex
        self._run.ledger.note(
            _PART,
            key,
            names=list(contents),
            ids=[self._run.id_of(name) for name in contents],
            contents=list(contents.values()),
            shared=shared,
            at=time.time(),
        )
        for name in contents:
            self._run.ledger.note("file", name, part=key)
        self._run.ledger.sync()
        self._send(key)

    def _send(self, key: str) -> None:
        """Hand in a part that is noted: the same request under the same key, however often."""
        facts = self._run.ledger.get(_PART, key)
        names: list[str] = facts["names"]
        old = time.time() - facts["at"] > _KEY_SECONDS
        batch = self._marked(key) if old else None
        if batch is None:
            items = [
                Request(content, custom_id=item)
                for item, content in zip(facts["ids"], facts["contents"], strict=True)
            ]
            defaults = self._run.shared(facts["shared"])
            try:
                batch = self._impasto.batches.create(
                    items, defaults=defaults, metadata={_MARK: key}, idempotency_key=key
                )
            except ApiError as error:
                self._refused(key, names, error)
                return
        self._run.ledger.note(_PART, key, batch=batch.id)
        self._watch(key, batch.id, [name for name in names if self._run.known(name).get("part") == key])

    def _refused(self, key: str, names: Sequence[str], error: ApiError) -> None:
        """A part has faults: its other pictures are handed in as another."""
        if error.code == "upload_not_found":
            self._run.forget_uploads()
            guilty = self._unsent & set(names)  # gone for the second time: not again in this run
            self._unsent.update(names)
        else:
            # The first line says what the pictures share: a fault there is everyone's.
            lines = {fault.line for fault in error.errors}
            if not lines or None in lines or 1 in lines:
                raise error
            guilty = {names[line - 2] for line in lines if line and line - 2 < len(names)}
        for name in names:
            self._run.ledger.note("file", name, part=None)
        self._run.ledger.forget(_PART, key)
        for name in guilty:
            faults = [fault for fault in error.errors if fault.line and names[fault.line - 2] == name]
            self._run.refused(name, ApiError(error.status, error.code, error.title, "", faults))
        innocent = [name for name in names if name not in guilty]
        if innocent:
            self._hand_in(innocent)

    def _painted_before(self, name: str) -> bool:
        """Collect what an earlier run has seen painted and could not store."""
        facts = self._run.known(name)
        if facts.get("status") != "painted":
            return False
        try:
            self._run.ended(name, self._impasto.get(facts["job"]))
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            self._run.another_turn(name)
            return False
        return True

    def _watch(self, key: str, batch: str, left: Sequence[str]) -> None:
        facts = self._run.ledger.get(_PART, key)
        by_id = dict(zip(facts["ids"], facts["names"], strict=True))
        self._open.append(_Part(key, by_id, batch, set(left), look_at=time.monotonic()))

    def _look(self, part: _Part, fresh: deque[str]) -> None:
        """See how a part is, and collect what has ended since."""
        try:
            batch = self._impasto.batches.get(part.batch)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # It has expired at the service since an earlier run: what is left of it is handed in anew.
            for name in part.left:
                self._run.another_turn(name)
            fresh.extend(sorted(part.left))
            self._close(part)
            return
        changed = False
        for status in sorted(TERMINAL):
            count = getattr(batch.counts, status)
            if count > part.seen.get(status, 0):
                changed = True
                part.seen[status] = self._collect(part, status)
        self._report.waits(batch.eta_seconds)
        if batch.ended and not any(
            getattr(batch.counts, status) > part.seen.get(status, 0) for status in TERMINAL
        ):
            self._settle(part, batch)
            self._close(part)
        part.pause = _SOON_SECONDS if changed else min(_LATE_SECONDS, part.pause * 1.5)
        part.look_at = time.monotonic() + part.pause

    def _collect(self, part: _Part, status: str) -> int:
        """Go through the items of a status; returns how many there are."""
        count = 0
        for job in self._impasto.batches.items(part.batch, status=status):
            count += 1
            name = part.names.get(job.custom_id or "")
            if name is not None and name in part.left:
                part.left.discard(name)
                self._run.ended(name, job)
        return count

    def _settle(self, part: _Part, batch: Batch) -> None:
        """The batch has ended: what never became a job, or lost it, has ended with it."""
        status = "failed" if batch.error else "canceled"
        for name in sorted(part.left):
            self._run.ended(name, Job(id=batch.id, status=status, error=batch.error))

    def _close(self, part: _Part) -> None:
        self._open.remove(part)
        self._run.ledger.forget(_PART, part.key)

    def _marked(self, key: str) -> Batch | None:
        """The batch of a part, by what its metadata says."""
        return next(
            (batch for batch in self._impasto.batches.list() if batch.metadata.get(_MARK) == key), None
        )


def _canceled(calls: Any, id: str) -> bool | None:  # noqa: A002, ANN401 - jobs or batches
    """Cancel one; returns whether that was still possible, None where there is none."""
    try:
        calls.cancel(id)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        if error.status != HTTPStatus.CONFLICT:
            raise
        return False
    return True


def _raise_what_concerns_all(error: Exception | None) -> None:
    """Raise what is wrong with the styles or the spec: every picture would meet it."""
    if not isinstance(error, ApiError):
        return
    pointers = [fault.pointer for fault in error.errors]
    if any(pointer.startswith(("/spec", "/styles", "/init", "/metadata")) for pointer in pointers):
        raise error

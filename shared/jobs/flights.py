"""What jobs fetch for each other: of those that want one URL at one time one fetches, the others are told.

Within a batch an outcome counts for every item, for as long as the batch is being worked on. Other jobs of an
owner share a fetch that had not ended when they were accepted: what a URL gives may change, and a job gets
nothing that is older. Nothing is shared between owners.

A fetch is held under a short lease, so that one whose worker died is begun by another.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import (
    Fault,
    FetchFailed,
    FetchRefused,
    FetchUnreachable,
    InternalFault,
    PictureTooLarge,
    PictureUnreadable,
    StorageUnavailable,
)
from shared.jobs.inputs import InputStore
from shared.jobs.pictures import Picture, input_key
from shared.jobs.policy import milliseconds
from shared.jobs.record import Job

#: A fetch that shows no sign of life for so long is begun by another.
LEASE_SECONDS = 10.0
#: How long a copy is remembered: within a batch since it was last used, else since it was fetched.
BATCH_SECONDS, COPY_SECONDS = 3600.0, 600.0
#: How long a fault is remembered that the same URL would meet again. One that may pass is for those who have
#: waited for it, who ask within moments.
FAULT_SECONDS, PASSING_SECONDS = 60.0, 10.0

#: Faults of a fetch, by code.
_FAULTS: Mapping[str, type[Fault]] = {
    fault.code: fault
    for fault in (
        FetchRefused,
        FetchFailed,
        FetchUnreachable,
        PictureTooLarge,
        PictureUnreadable,
        StorageUnavailable,
        InternalFault,
    )
}


@dataclass(frozen=True)
class Fetching:
    """The asker is to fetch the URL itself."""


@dataclass(frozen=True)
class Awaiting:
    """Another job's fetch is under way, called `flight`."""

    flight: str


#: What is known of a URL: who fetches it, or what came of it.
Known = Fetching | Awaiting | Picture | Fault


@dataclass(frozen=True)
class Flight:
    """One job's fetches, under one name.

    Attributes:
        scope: who shares them.
        token: their name.
        accepted: when the job was, in milliseconds since the epoch; None where an outcome never is too old.
    """

    scope: str
    token: str
    accepted: int | None

    @classmethod
    def of(cls, job: Job) -> "Flight":
        """The fetches of one attempt at a job's intake."""
        token = secrets.token_hex(8)
        if job.batch_id is not None:
            return cls(f"batch {job.batch_id} of {job.owner}", token, None)
        return cls(f"owner {job.owner}", token, milliseconds(job.created_at))

    def name(self, url: str) -> str:
        """What the outcome for a URL is kept under."""
        return hashlib.sha256(f"{self.scope}\n{url}".encode()).hexdigest()[:32]


class FlightStore(InputStore):
    """Fetches under way and their outcomes. Every method may raise `StoreUnavailable`."""

    def claim_fetches(
        self, flight: Flight, urls: Sequence[str], awaited: Mapping[str, str] | None = None
    ) -> list[Known]:
        """What is known of each URL; those of which nothing is are the asker's to fetch.

        A picture that is known is held from deletion for an hour, as `hold` does.

        Args:
            flight: the asker's.
            urls: what it wants.
            awaited: by URL the flights that it was told of before.
        """
        replies = self._scripts.run(
            "claim_fetch",
            names=[flight.name(url) for url in urls],
            flight=flight.token,
            hold=milliseconds(LEASE_SECONDS),
            awaited={flight.name(url): token for url, token in (awaited or {}).items()},
            accepted=flight.accepted,
            keep=milliseconds(BATCH_SECONDS) if flight.accepted is None else None,
        )
        return [_known(url, *reply) for url, reply in zip(urls, replies, strict=True)]

    def renew_fetches(self, flight: Flight, urls: Sequence[str]) -> None:
        """The asker's fetches go on."""
        names = [flight.name(url) for url in urls]
        self._scripts.run("renew_fetch", names=names, flight=flight.token, hold=milliseconds(LEASE_SECONDS))

    def end_fetch(self, flight: Flight, url: str, outcome: Picture | Fault | None) -> None:
        """A fetch of the asker's has ended, with None when nothing is known of its outcome."""
        copy, fault = None, None
        keep = BATCH_SECONDS if flight.accepted is None else COPY_SECONDS
        if isinstance(outcome, Picture):
            copy = {"sha256": outcome.sha256, "width": outcome.width, "height": outcome.height}
        elif outcome is not None and outcome.code in _FAULTS:
            fault = {"code": outcome.code, "detail": outcome.detail}
            keep = PASSING_SECONDS if outcome.retryable else FAULT_SECONDS
        self._scripts.run(
            "end_fetch",
            name=flight.name(url),
            flight=flight.token,
            keep=milliseconds(keep),
            copy=copy,
            fault=fault,
            passing=True if fault and outcome and isinstance(outcome, Fault) and outcome.retryable else None,
        )


def _known(url: str, what: str, value: str = "") -> Known:
    match what:
        case "fetch":
            return Fetching()
        case "wait":
            return Awaiting(value)
        case "copy":
            copy = json.loads(value)
            return Picture(url, key=input_key(copy["sha256"]), **copy)
        case _:
            fault = json.loads(value)
            return _FAULTS[fault["code"]](fault["detail"])

"""One job's URLs on their way in: those that it fetches itself, and those that other jobs fetch for it.

What is whose is agreed in `shared.jobs.flights`. An awaited URL occupies no thread: the job's own loop looks
for it.
"""

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future

from shared.errors import Fault, StoreUnavailable
from shared.jobs.flights import LEASE_SECONDS, Awaiting, Fetching, Flight
from shared.jobs.pictures import Picture
from shared.jobs.record import Job
from shared.jobs.store import JobStore
from shared.logs import carried

log = logging.getLogger(__name__)


class Flights:
    """The URLs of one attempt at intake; to be used by one thread.

    Args:
        job: whose.
        store: where it is agreed who fetches.
        pool: runs what this job fetches.
        bring_in: makes a clean copy of what a URL gives, or raises.
    """

    def __init__(self, job: Job, store: JobStore, pool: Executor, bring_in: Callable[[str], Picture]) -> None:
        self._flight = Flight.of(job)
        self._store = store
        self._pool = pool
        self._bring_in = bring_in
        self._own: dict[str, Future[Picture]] = {}
        self._awaited: dict[str, Future[Picture]] = {}
        self._told: dict[str, str] = {}
        self._renewed_at = time.monotonic()

    def start(self, urls: Collection[str]) -> dict[str, Future[Picture]]:
        """Begin to bring these in, or to await them; a future for each."""
        work: dict[str, Future[Picture]] = {url: Future() for url in urls}
        self._awaited = dict(work)
        self._ask()
        return work

    @property
    def awaits(self) -> bool:
        """Whether something is fetched by others."""
        return bool(self._awaited)

    @property
    def only_awaits(self) -> bool:
        """Whether all that is still to come is fetched by others."""
        return self.awaits and all(future.done() for future in self._own.values())

    def look(self) -> None:
        """Keep up what this job fetches, and ask for what it awaits. Raises `StoreUnavailable`."""
        under_way = [url for url, future in self._own.items() if not future.done()]
        if under_way and time.monotonic() - self._renewed_at > LEASE_SECONDS / 4:
            self._store.renew_fetches(self._flight, under_way)
            self._renewed_at = time.monotonic()
        if self._awaited:
            self._ask()

    def leave(self) -> None:
        """Let others begin what this job does not bring to its end."""
        for url, future in self._own.items():
            if not future.done():
                self._end(url, None)

    def _ask(self) -> None:
        urls = list(self._awaited)
        if not urls:
            return
        for url, known in zip(urls, self._store.claim_fetches(self._flight, urls, self._told), strict=True):
            match known:
                case Awaiting(flight):
                    self._told[url] = flight
                case Fetching():
                    self._own[url] = self._awaited.pop(url)
                    self._pool.submit(carried(self._fetch), url, self._own[url])
                case Picture():
                    self._awaited.pop(url).set_result(known)
                case Fault():
                    self._awaited.pop(url).set_exception(known)

    def _fetch(self, url: str, future: Future[Picture]) -> None:
        try:
            picture = self._bring_in(url)
        except BaseException as error:  # noqa: BLE001 - whoever reads the future meets it
            self._end(url, error if isinstance(error, Fault) else None)
            future.set_exception(error)
        else:
            self._end(url, picture)
            future.set_result(picture)

    def _end(self, url: str, outcome: Picture | Fault | None) -> None:
        try:
            self._store.end_fetch(self._flight, url, outcome)
        except StoreUnavailable as fault:
            log.warning("a fetch's outcome is not shared: %s", fault.detail)

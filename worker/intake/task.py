"""One job's intake from claim to clean copies: the intake worker's task."""

import logging
import threading
import time
from functools import partial

from shared.bells import ring
from shared.errors import Fault, InternalFault, StoreUnavailable
from shared.jobs.pictures import Inputs
from shared.jobs.record import Queue
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.logs import about
from shared.objects import ObjectStore
from shared.settings import Settings
from worker.intake.prepare import IntakeAwaitsError, IntakeStoppedError, prepare
from worker.lease import Lease, Stop

log = logging.getLogger(__name__)

#: A job that waits for another's fetch is left alone for so long.
ASIDE_SECONDS = 1.0


class Intake:
    """Claims one job at a time and brings its pictures into the house."""

    def __init__(
        self, store: JobStore, objects: ObjectStore, config: Settings, name: str, draining: threading.Event
    ) -> None:
        self._store = store
        self._objects = objects
        self._config = config
        self._name = name
        self._draining = draining

    def work(self) -> bool:
        """Claim a job and fetch what it names; False when none was waiting."""
        claim = self._store.claim(Queue.INTAKE, self._name)
        if claim is None:
            return False
        lease = Lease(
            self._store,
            claim,
            lease_seconds=self._config.lease_seconds,
            stall_seconds=self._config.intake_stall_seconds,
            draining=self._draining,
        )
        with about(**claim.log_fields):
            try:
                with lease:
                    self._attempt(claim, lease)
            except LeaseLostError:
                log.warning("job %s: the intake lease was lost", claim.job.id)
            except StoreUnavailable:
                log.warning("job %s: the job store stayed away; the reaper will see to it", claim.job.id)
        return True

    def _attempt(self, claim: Claim, lease: Lease) -> None:
        started = time.monotonic()
        try:
            inputs = prepare(
                claim.job,
                self._store,
                self._objects,
                self._config,
                on_progress=lease.moved,
                on_copies=partial(self._pin, claim),
                should_stop=lambda: lease.stop is not None,
            )
        except (StoreUnavailable, LeaseLostError):
            raise
        except IntakeStoppedError:
            self._end_early(claim, lease)
            return
        except IntakeAwaitsError:
            lease.insist(lambda: self._store.set_aside(claim, ASIDE_SECONDS))
            log.info("job %s: put aside while others fetch what it names", claim.job.id)
            return
        except Fault as fault:
            self._fail(claim, lease, fault)
            return
        except Exception as error:
            log.exception("job %s: intake failed", claim.job.id)
            self._fail(claim, lease, InternalFault(f"{type(error).__name__} while fetching"))
            return
        seconds = {"fetch": round(time.monotonic() - started, 3)}
        advance = partial(
            self._store.advance, claim, inputs.content, inputs.styles, seconds=seconds, init=inputs.init
        )
        if lease.insist(advance):
            ring(Queue.PAINT)
        log.info("job %s: %d pictures are in, %.2f s", claim.job.id, len([*inputs.each()]), seconds["fetch"])

    def _pin(self, claim: Claim, inputs: Inputs) -> None:
        """Keep what is in: another attempt does not fetch it again, nor something else in its place."""
        try:
            self._store.pin(claim, inputs)
        except StoreUnavailable:
            log.warning("job %s: not pinned, the job store does not answer", claim.job.id)

    def _end_early(self, claim: Claim, lease: Lease) -> None:
        """The fetching was stopped: hand the job back as the reason demands."""
        match lease.stop:
            case Stop.DRAIN:
                if lease.insist(lambda: self._store.release(claim)):
                    ring(Queue.INTAKE)
                log.info("job %s: put back", claim.job.id)
            case Stop.CANCEL:
                lease.insist(lambda: self._store.canceled(claim))
            case _:
                raise LeaseLostError(claim.job.uid)

    def _fail(self, claim: Claim, lease: Lease, fault: Fault) -> None:
        log.warning("job %s: %s: %s", claim.job.id, fault.code, fault.detail)
        lease.insist(lambda: self._store.fail(claim, fault))

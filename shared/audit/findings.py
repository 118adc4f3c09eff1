"""What the audit can find: a stable code each, with what heals it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Code(StrEnum):
    """The kinds of finding. docs/operations.md lists them (a test holds it to this class)."""

    RECORD_LATER = "record_later"
    RECORD_UNREADABLE = "record_unreadable"
    JOB_STRANDED = "job_stranded"
    JOB_MISPLACED = "job_misplaced"
    JOB_UNLISTED = "job_unlisted"
    ID_DISAGREES = "id_disagrees"
    DEADLINE_DISAGREES = "deadline_disagrees"
    RETENTION_DISAGREES = "retention_disagrees"
    LEASE_OVERDUE = "lease_overdue"
    BACKOFF_OVERDUE = "backoff_overdue"
    DEADLINE_OVERDUE = "deadline_overdue"
    PURGE_OVERDUE = "purge_overdue"

    ENTRY_WITHOUT_JOB = "entry_without_job"
    ENTRY_CONTRADICTS = "entry_contradicts"
    TURN_DISAGREES = "turn_disagrees"
    COUNT_DISAGREES = "count_disagrees"
    WAITING_DISAGREES = "waiting_disagrees"
    NO_BELL = "no_bell"

    RECIPE_DISAGREES = "recipe_disagrees"
    FOLLOWERS_WITHOUT_LEADER = "followers_without_leader"
    SHARERS_DISAGREE = "sharers_disagree"

    REFS_DISAGREE = "refs_disagree"
    INPUT_MISSING = "input_missing"
    INPUT_DAMAGED = "input_damaged"
    INPUT_FORGOTTEN = "input_forgotten"
    INPUT_OVERDUE = "input_overdue"
    UNUSED_DISAGREES = "unused_disagrees"
    UPLOAD_DISAGREES = "upload_disagrees"
    UPLOAD_OVERDUE = "upload_overdue"

    OUTPUT_MISSING = "output_missing"
    OUTPUT_DAMAGED = "output_damaged"
    CHECKPOINT_MISSING = "checkpoint_missing"
    PREVIEW_MISSING = "preview_missing"
    OBJECT_WITHOUT_JOB = "object_without_job"

    BATCH_DISAGREES = "batch_disagrees"
    BATCH_STRANDED = "batch_stranded"
    BATCH_OVERDUE = "batch_overdue"
    BATCH_LINES_LOST = "batch_lines_lost"

    ARCHIVE_STRANDED = "archive_stranded"
    ARCHIVE_OVERDUE = "archive_overdue"
    ARCHIVE_MISSING = "archive_missing"
    ARCHIVE_DAMAGED = "archive_damaged"

    DELIVERY_WITHOUT_RECORD = "delivery_without_record"
    DELIVERY_DISAGREES = "delivery_disagrees"
    DELIVERY_OVERDUE = "delivery_overdue"


#: What is no fault, but worth knowing.
NOTES = frozenset({Code.RECORD_LATER})

_REAPER = "Every worker reaps every few seconds: see that one runs and reaches Redis."
_CHORES = "Chores do it by themselves: see that a chores worker runs and reaches both stores."
_REPAIR = "Nothing heals it by itself; `impasto doctor --repair` puts it right."

#: What heals a finding, by its code.
REMEDIES = {
    Code.RECORD_LATER: "A newer Impasto wrote it; this one leaves it alone. Upgrade the workers.",
    Code.RECORD_UNREADABLE: "Nothing heals it by itself: restore it from a backup, and report it.",
    Code.JOB_STRANDED: _REPAIR,
    Code.JOB_MISPLACED: _REPAIR,
    Code.JOB_UNLISTED: _REPAIR,
    Code.ID_DISAGREES: _REPAIR,
    Code.DEADLINE_DISAGREES: _REPAIR,
    Code.RETENTION_DISAGREES: _REPAIR,
    Code.LEASE_OVERDUE: _REAPER,
    Code.BACKOFF_OVERDUE: _REAPER,
    Code.DEADLINE_OVERDUE: _REAPER,
    Code.PURGE_OVERDUE: _CHORES,
    Code.ENTRY_WITHOUT_JOB: _REPAIR,
    Code.ENTRY_CONTRADICTS: _REPAIR,
    Code.TURN_DISAGREES: _REPAIR,
    Code.COUNT_DISAGREES: _REPAIR,
    Code.WAITING_DISAGREES: _REPAIR,
    Code.NO_BELL: _REAPER,
    Code.RECIPE_DISAGREES: _REPAIR,
    Code.FOLLOWERS_WITHOUT_LEADER: _REPAIR,
    Code.SHARERS_DISAGREE: _REPAIR,
    Code.REFS_DISAGREE: _REPAIR,
    Code.INPUT_MISSING: "Its jobs fail: restore it from a backup, or hand in the picture again.",
    Code.INPUT_DAMAGED: "Delete the object; the next upload or fetch of this picture stores it again.",
    Code.INPUT_FORGOTTEN: _REPAIR,
    Code.INPUT_OVERDUE: _CHORES,
    Code.UNUSED_DISAGREES: _REPAIR,
    Code.UPLOAD_DISAGREES: _REPAIR,
    Code.UPLOAD_OVERDUE: _REAPER,
    Code.OUTPUT_MISSING: "Restore it from a backup, or retry the job.",
    Code.OUTPUT_DAMAGED: "Restore it from a backup, or retry the job.",
    Code.CHECKPOINT_MISSING: "The next attempt starts over, or the next checkpoint takes its place.",
    Code.PREVIEW_MISSING: "The next preview takes its place.",
    Code.BATCH_DISAGREES: _REPAIR,
    Code.BATCH_STRANDED: _REPAIR,
    Code.BATCH_OVERDUE: _CHORES,
    Code.BATCH_LINES_LOST: "Restore it from a backup at once: chores try a few times, then the batch fails.",
    Code.ARCHIVE_STRANDED: _REPAIR,
    Code.ARCHIVE_OVERDUE: _CHORES,
    Code.ARCHIVE_MISSING: f"{_REPAIR} It is built anew when it is next asked for.",
    Code.ARCHIVE_DAMAGED: f"{_REPAIR} It is built anew when it is next asked for.",
    Code.DELIVERY_WITHOUT_RECORD: _REPAIR,
    Code.DELIVERY_DISAGREES: _REPAIR,
    Code.DELIVERY_OVERDUE: _CHORES,
    Code.OBJECT_WITHOUT_JOB: "Chores sweep such leftovers every hour: see that a chores worker runs.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        code: its kind.
        subject: the uid, or the key, that it is about.
        detail: one sentence on what is wrong.
        repair: arguments of the script `mend`, where it can put this right.
        repaired: True once it has.
    """

    code: Code
    subject: str
    detail: str
    repair: Mapping[str, object] | None = field(default=None, compare=False)
    repaired: bool = field(default=False, compare=False)

    @property
    def remedy(self) -> str:
        """What heals it."""
        return REMEDIES[self.code]

    @property
    def fault(self) -> bool:
        """False for what is merely worth knowing, or was put right."""
        return self.code not in NOTES and not self.repaired

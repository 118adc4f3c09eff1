"""The names of everything the job store keeps in Redis: the one definition, for Python and for the scripts.

A name that ends in a colon is completed with what stands in brackets. Owners come last, since they may
contain anything. A *lane* is a set of jobs that the same workers can take: `intake`, or `paint.<backbone>`.
"""

from enum import StrEnum


class Key(StrEnum):
    """Key names and prefixes. The scripts see them as `K.job`, `K.ids` and so on."""

    JOB = "im:job:"  # [uid] hash: the record
    IDS = "im:ids:"  # [owner] hash: an ID of the caller's own -> uid; a job whose ID is its uid is not in it
    LIST = "im:list:"  # [status]:[owner] zset: uid by order of acceptance
    COUNTS = "im:counts"  # hash: status -> records
    ORDER = "im:order"  # counter: order of acceptance
    IDEMPOTENCY = "im:idempotency:"  # [Idempotency-Key]:[owner] string: uid; expires

    WAIT = "im:wait:"  # [lane]:[owner] zset: uid by priority, then order of acceptance
    TURNS = "im:turns:"  # [lane] zset: owners with something waiting, by the turn they wait for
    TURN = "im:turn"  # counter: turns given out
    WAITING = "im:waiting"  # hash: lane -> jobs waiting
    DELAYED = "im:delayed"  # zset: uid by the time it may wait again (back-off)
    LEASES = "im:leases"  # zset: uid by the time its lease runs out
    DEADLINES = "im:deadlines"  # zset: uid of jobs that have not ended, by deadline
    ENDED = "im:ended"  # zset: uid of ended jobs, by the time their retention is over
    OUTPUT_ENDS = "im:output_ends"  # zset: uid of jobs whose output is to go before them, by that time
    TALLY = "im:tally"  # hash: event -> how often it happened; time:<what>:<bound> -> how many took no longer

    REFS = "im:refs"  # hash: sha256 of an input -> jobs and uploads that name it (absent: none)
    UNUSED = "im:unused"  # zset: sha256 of inputs that nobody names, by the time they may be deleted
    SWEEPING = "im:sweeping"  # zset: sha256 of inputs being deleted, by the time another may take over
    UPLOADS = "im:uploads:"  # [owner] hash: upload ID -> picture
    UPLOAD_ENDS = "im:upload_ends"  # zset: [upload ID]:[owner] by the time its retention is over

    QUARANTINE = "im:quarantine:"  # [recipe] string: when its last job had ended its workers; expires
    LOCK = "im:lock:"  # [what is to be done] string: the worker whose turn it is; expires

    WORKERS = "im:workers"  # hash: worker name -> what it offers
    WORKER_ENDS = "im:worker_ends"  # zset: worker name by the time its advertisement lapses

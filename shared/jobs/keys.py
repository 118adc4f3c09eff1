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
    REAPED = "im:reaped"  # string: when the reaper last began a round
    RUN = "im:run"  # string: ID of the server's run in that round
    BRIDGED = "im:bridged"  # zset: uid of jobs held through a pause of the reaper, by their lease's end then
    AWAY = "im:away"  # string, while it is known that Redis itself was away not long ago; expires
    DEADLINES = "im:deadlines"  # zset: uid of jobs that have not ended, by deadline
    ENDED = "im:ended"  # zset: uid of ended jobs, by the time their retention is over
    OUTPUT_ENDS = "im:output_ends"  # zset: uid of jobs whose output is to go before them, by that time
    TALLY = "im:tally"  # hash: event -> how often it happened; time:<what>:<bound> -> how many took no longer

    CHANGES = "im:changes"  # stream, capped: what whoever waits is told of
    PACE = "im:pace:"  # [bucket] string: what jobs of it have taken lately; expires
    PACES = "im:paces"  # hash: lane -> likewise, over all its buckets

    REFS = "im:refs"  # hash: sha256 of an input -> jobs and uploads that name it (absent: none)
    REFS_MOVED = "im:refs_moved"  # hash: first digits of inputs' sha256 -> how often one was named or let go
    UNUSED = "im:unused"  # zset: sha256 of inputs that nobody names, by the time they may be deleted
    SWEEPING = "im:sweeping"  # zset: sha256 of inputs being deleted, by the time another may take over
    FETCH = "im:fetch:"  # [hash of scope and URL] string: a fetch under way, or what came of it; expires
    UPLOADS = "im:uploads:"  # [owner] hash: upload ID -> picture
    UPLOAD_ENDS = "im:upload_ends"  # zset: [upload ID]:[owner] by the time its retention is over

    RECIPES = "im:recipes:"  # [owner] hash: recipe -> uid of the job that makes it, or has its output
    FOLLOWING = "im:following:"  # [recipe]:[owner] zset: uid of jobs that wait for that job, as in `WAIT`
    SETTLING = "im:settling"  # zset: [recipe]:[owner] whose followers are attended to, by the last time
    SHARERS = (
        "im:sharers:"  # [output key] zset: uid of jobs that name it, by when they lose it; none: its maker
    )

    ARCHIVE = "im:archive:"  # [batch uid] hash: the archive of a batch, wanted, being built or ready
    ARCHIVE_WORK = (
        "im:archive_work"  # zset: uid of batches whose archive is to be built, by when one may begin
    )
    ARCHIVE_ENDS = "im:archive_ends"  # zset: uid of batches whose archive is ready, by when it goes

    QUARANTINE = "im:quarantine:"  # [recipe] string: when its last job had ended its workers; expires
    LOCK = "im:lock:"  # [what is to be done] string: the worker whose turn it is; expires

    DELIVERY = "im:delivery:"  # [ID] hash: one event that a receiver is to be told
    DELIVERIES = "im:deliveries"  # zset: lines by the time of their first delivery
    DELIVERY_LINE = "im:delivery_line:"  # [host:port] [owner] zset: delivery ID by the time it is due
    DELIVERY_LIST = "im:delivery_list:"  # [state]:[owner] zset: delivery ID by order
    DELIVERY_ORDER = "im:delivery_order"  # counter: order of deliveries
    DELIVERY_ENDS = "im:delivery_ends"  # zset: ID of deliveries of no job by the time their retention is over
    WEBHOOK_SECRETS = (
        "im:webhook_secrets:"  # [owner] string: JSON of what the owner's webhooks are signed with
    )

    WORKERS = "im:workers"  # hash: worker name -> what it offers
    WORKER_ENDS = "im:worker_ends"  # zset: worker name by the time its advertisement lapses

    BATCH = "im:batch:"  # [batch uid] hash: the batch's record
    BATCHES = "im:batches:"  # [owner] zset: batch uid by order of acceptance
    BATCH_ITEMS = "im:batch_items:"  # [batch uid]:[status] zset: uid of its jobs by their place in the batch
    BATCH_WORK = "im:batch_work"  # zset: batch uid with work left for chores, by the time it may be taken up
    BATCH_ENDED = "im:batch_ended"  # zset: uid of ended batches, by the time their retention is over
    BATCH_INPUTS = "im:batch_inputs:"  # [batch uid] set: sha256 of inputs kept for items that are no jobs yet
    BATCH_UNHELD = "im:batch_unheld"  # zset: batch uid by the time the inputs that are kept for it are let go
    BATCH_IDEMPOTENCY = "im:batch_idempotency:"  # [Idempotency-Key]:[owner] string: batch uid; expires

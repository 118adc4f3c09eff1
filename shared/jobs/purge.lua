#!lua flags=allow-oom
-- Forget an ended job: its record, its ID, its Idempotency-Key, its references to inputs, its deliveries, its
-- share in its output.
--
-- Arguments: owner, id, grace (ms), schema.
-- Keys: ids:<owner>, job:<uid>, list:<status>:<owner>, counts, ended, output_ends, refs, unused,
--   idempotency:<key>:<owner>, batch:<uid>, batch_items:<uid>:<status>, recipes:<owner>, sharers:<output key>, and
--   those of deliveries.
-- Returns {outcome, record as it was, without an output that other jobs need}: outcome is `ok`, `conflict` (it has
--   not ended) or, with its uid in place of the record, `read` (a batch that tries it again has yet to read it);
--   empty when there is none.

local job = find_job(arg.owner, arg.id)
if not job then return {} end
if not job.completed_at or later_schema(job) then return {'conflict', {}} end
local reader = reader_of(job)
if reader then return {'read', reader} end
return {'ok', purge_job(job, now())}

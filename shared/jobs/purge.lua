#!lua flags=allow-oom
-- Forget an ended job: its record, its ID, its Idempotency-Key, its references to inputs.
--
-- Arguments: owner, id, grace (ms), schema.
-- Keys: ids:<owner>, job:<uid>, list:<status>:<owner>, counts, ended, output_ends, refs, unused,
--   idempotency:<key>:<owner>.
-- Returns {outcome, record as it was}: outcome is `ok` or `conflict` (it has not ended); empty when there is none.

local job = find_job(arg.owner, arg.id)
if not job then return {} end
if not job.completed_at or later_schema(job) then return {'conflict', {}} end
local uid = job.uid
local record = redis.call('HGETALL', K.job .. uid)
local time = now()
for _, sha256 in ipairs(inputs_of(job)) do unrefer(sha256, time) end
redis.call('DEL', K.job .. uid)
redis.call('HDEL', K.ids .. job.owner, job.id)
redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, uid)
redis.call('HINCRBY', K.counts, job.status, -1)
redis.call('ZREM', K.ended, uid)
redis.call('ZREM', K.output_ends, uid)
local remembered = job.idempotency_key and K.idempotency .. job.idempotency_key .. ':' .. job.owner
if remembered and redis.call('GET', remembered) == uid then redis.call('DEL', remembered) end
return {'ok', record}

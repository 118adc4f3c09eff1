#!lua flags=allow-oom
-- Forget an ended job: its record, its ID, its references to inputs, its share in its output.
--
-- Arguments: owner, id, grace (ms), schema.
-- Keys: ids:<owner>, job:<uid>, list:<status>:<owner>, counts, ended, refs, unused, recipes:<owner>,
--   sharers:<output key>.
-- Returns {outcome, record as it was, 1 when other jobs need its output}: outcome is `ok` or `conflict` (it has not
--   ended); empty when there is none.

local job = find_job(arg.owner, arg.id)
if not job then return {} end
if not job.completed_at or later_schema(job) then return {'conflict', {}, 0} end
local uid = job.uid
local record = redis.call('HGETALL', K.job .. uid)
local time = now()
for _, sha256 in ipairs(inputs_of(job)) do unrefer(sha256, time) end
local needed = give_up_output(job)
redis.call('DEL', K.job .. uid)
redis.call('HDEL', K.ids .. job.owner, job.id)
redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, uid)
redis.call('HINCRBY', K.counts, job.status, -1)
redis.call('ZREM', K.ended, uid)
return {'ok', record, needed and 1 or 0}

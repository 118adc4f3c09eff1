#!lua flags=allow-oom
-- Forget an ended job: its record, its ID, its references to inputs.
--
-- Arguments: owner, id, grace (ms), schema.
-- Keys: ids:<owner>, job:<uid>, list:all:<owner>, list:<status>:<owner>, counts, ended, refs, unused.
-- Returns {outcome, record as it was}: outcome is `ok` or `conflict` (it has not ended); empty when there is none.

local uid = redis.call('HGET', K.ids .. arg.owner, arg.id)
local job = uid and load_job(uid)
if not job then return {} end
if not job.completed_at or later_schema(job) then return {'conflict', {}} end
local record = redis.call('HGETALL', K.job .. uid)
local time = now()
for _, sha256 in ipairs(inputs_of(job.content, job.styles)) do unrefer(sha256, time) end
redis.call('DEL', K.job .. uid)
redis.call('HDEL', K.ids .. job.owner, job.id)
redis.call('ZREM', K.list .. 'all:' .. job.owner, uid)
redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, uid)
redis.call('HINCRBY', K.counts, job.status, -1)
redis.call('ZREM', K.ended, uid)
return {'ok', record}

#!lua flags=allow-oom
-- Put a job back uncharged that has to wait for another's work, for a moment at least, so that its slot is free
-- meanwhile; or end it if it was to stop anyway.
--
-- Arguments: uid, fence, delay (ms), retention (ms), overdue (JSON).
-- Keys: job:<uid>, tally, leases, counts, list:<status>:<owner>, delayed, deadlines, ended.
-- Returns {1}; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
local time = now()
redis.call('HINCRBY', K.job .. job.uid, 'attempt', -1)
if not end_if_due(job, time) then wait_again(job, time, arg.delay) end
return {1}

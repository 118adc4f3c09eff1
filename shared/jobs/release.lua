#!lua flags=allow-oom
-- Give a job back uncharged: it waits again at its old place, or ends if it was to stop anyway.
--
-- Arguments: uid, fence, retention (ms), overdue (JSON), bells.
-- Keys: job:<uid>, tally, leases, counts, list:<status>:<owner>, wait:<lane>:<owner>, turns:<lane>, turn, waiting,
--   delayed, deadlines, ended; the Celery queue's list.
-- Returns {ring}; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
local time = now()
local queue = queue_of(job)
redis.call('HINCRBY', K.job .. job.uid, 'attempt', -1)
if end_if_due(job, time) then return {0} end
wait_again(job, time, 0)
tally('released')
return {bell_wanted(queue)}

#!lua flags=allow-oom
-- The worker stopped as it was asked to: the job is canceled, with an error when its deadline was the reason.
--
-- Arguments: uid, fence, overdue (JSON), retention (ms).
-- Keys: job:<uid>, tally, leases, delayed, deadlines, ended, counts, list:<status>:<owner>.
-- Returns {1}; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
local time = now()
if not end_if_due(job, time) then end_job(job, time, 'canceled', {}) end
return {1}

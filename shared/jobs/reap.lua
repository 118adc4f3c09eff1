#!lua flags=allow-oom
-- Take jobs whose lease ran out from workers that are gone: an attempt that failed.
--
-- Arguments: limit (jobs in one call), lost (JSON: the attempt's error), max_attempts, exhausted, deadly, overdue
--   (JSON each), retention, quarantine (ms), schema.
-- Keys: leases, job:<uid>, tally, quarantine:<recipe>, delayed, deadlines, ended, counts, list:<status>:<owner>,
--   and those of waiting.
-- Returns for each job the status that it has now.

local time = now()
local found = {}
for _, job in ipairs(jobs_due(K.leases, time)) do
  tally('lost')
  attempt_failed(job, time, arg.lost, 0)
  found[#found + 1] = job.status
end
return found

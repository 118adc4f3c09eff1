#!lua flags=allow-oom
-- Take jobs whose lease ran out from workers that are gone: an attempt that failed.
--
-- Arguments: limit (jobs in one call), lost (JSON: the attempt's error), max_attempts, exhausted, overdue (JSON
--   each), retention (ms), schema.
-- Keys: leases, job:<uid>, tally, delayed, deadlines, ended, counts, list:<status>:<owner>, and those of waiting.
-- Returns for each job the status that it has now.

local time = now()
local found = {}
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.leases, '-inf', time, 'LIMIT', 0, arg.limit)) do
  local job = load_job(uid)
  if not later_schema(job) then
    tally('lost')
    attempt_failed(job, time, arg.lost, 0)
    found[#found + 1] = job.status
  end
end
return found

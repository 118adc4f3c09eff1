#!lua flags=allow-oom
-- End queued jobs whose deadline passed: `expired`, or `canceled` where a painter had begun. One that is
-- processing is told by its next renewal, and ended by whatever takes its lease.
--
-- Arguments: limit (jobs in one call), overdue (JSON), retention (ms), schema.
-- Keys: deadlines, job:<uid>, leases, delayed, ended, counts, list:<status>:<owner>, wait:<lane>:<owner>,
--   turns:<lane>, waiting.
-- Returns {the number of jobs that it ended}.

local time = now()
local expired = 0
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.deadlines, '-inf', time, 'LIMIT', 0, arg.limit)) do
  local job = load_job(uid)
  if not later_schema(job) then
    if job.status == 'processing' then
      redis.call('ZREM', K.deadlines, uid)
    else
      end_overdue(job, time)
      expired = expired + 1
    end
  end
end
return {expired}

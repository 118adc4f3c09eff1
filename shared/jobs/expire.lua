#!lua flags=allow-oom
-- End queued jobs whose deadline passed: `expired`, or `canceled` where a painter had begun. One that is
-- processing is told by its next renewal, and ended by whatever takes its lease.
--
-- Arguments: limit (jobs in one call), overdue (JSON), retention (ms), schema.
-- Keys: deadlines, job:<uid>, leases, delayed, ended, counts, list:<status>:<owner>, wait:<lane>:<owner>,
--   turns:<lane>, waiting, tally.
-- Returns {the number of jobs that expired, the number that were canceled}.

local time = now()
local ended = {expired = 0, canceled = 0}
for _, due in ipairs(jobs_due(K.deadlines, time)) do
  local job = load_job(due.uid) -- it may have followed one that has ended since
  if job.completed_at then
    redis.call('ZREM', K.deadlines, job.uid)
  elseif job.status == 'processing' then
    redis.call('ZREM', K.deadlines, job.uid)
  else
    end_overdue(job, time)
    ended[job.status] = ended[job.status] + 1
  end
end
return {ended.expired, ended.canceled}

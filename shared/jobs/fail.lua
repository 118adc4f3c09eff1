#!lua flags=allow-oom
-- An attempt failed. A fault of the job ends it; one of the infrastructure is kept and tried again later.
--
-- Arguments: uid, fence, error (JSON), retryable, retry_delay (ms; doubled for each attempt before),
--   max_attempts, exhausted, deadly, overdue (JSON each), retention, quarantine (ms), schema.
-- Keys: job:<uid>, tally, quarantine:<recipe>, leases, delayed, deadlines, ended, counts, list:<status>:<owner>,
--   and those of waiting.
-- Returns the record; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
local time = now()
if arg.retryable then
  attempt_failed(job, time, arg.error, arg.retry_delay * 2 ^ (job.attempt - 1))
else
  tally('attempt:' .. cjson.decode(arg.error).code)
  end_job(job, time, 'failed', {error = arg.error})
end
return redis.call('HGETALL', K.job .. job.uid)

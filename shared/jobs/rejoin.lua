#!lua flags=allow-oom
-- Let jobs wait again whose back-off is over.
--
-- Arguments: limit (jobs in one call), schema.
-- Keys: delayed, job:<uid>, wait:<lane>:<owner>, turns:<lane>, turn, waiting.
-- Returns {the number of jobs}.

local time = now()
local jobs = jobs_due(K.delayed, time)
for _, job in ipairs(jobs) do
  redis.call('ZREM', K.delayed, job.uid)
  wait(job, time)
end
return {#jobs}

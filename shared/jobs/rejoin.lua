#!lua flags=allow-oom
-- Let jobs wait again whose back-off is over.
--
-- Arguments: limit (jobs in one call), schema.
-- Keys: delayed, job:<uid>, wait:<lane>:<owner>, turns:<lane>, turn, waiting.
-- Returns {the number of jobs}.

local time = now()
local rejoined = 0
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.delayed, '-inf', time, 'LIMIT', 0, arg.limit)) do
  local job = load_job(uid)
  if not later_schema(job) then
    redis.call('ZREM', K.delayed, uid)
    wait(job, time)
    rejoined = rejoined + 1
  end
end
return {rejoined}

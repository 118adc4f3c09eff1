#!lua flags=allow-oom
-- Take jobs whose lease ran out from workers that are gone: an attempt that failed.
--
-- Where there are rounds all the time, a pause between two means that Redis may have been away. Then no worker
-- could renew its lease either, so that each is given time to. What is lost even so is charged to no job, where
-- it is known that it was Redis: it was started anew in the pause, or a worker that lives has asked it in vain
-- (away.lua).
--
-- Arguments: limit (jobs in one call), lost (JSON: the attempt's error), max_attempts, exhausted, deadly, overdue
--   (JSON each), retention, quarantine (ms), schema; of one round of many also pause (ms after which a round is
--   late), grace (ms in which a worker that lives has renewed its lease), lease (ms), away (JSON: the error of an
--   attempt that was lost because Redis was away).
-- Keys: leases, job:<uid>, tally, quarantine:<recipe>, delayed, deadlines, ended, counts, list:<status>:<owner>,
--   and those of waiting; reaped, run, bridged, away.
-- Returns for each job the status that it has now.

local MAX_HELD = 10000 -- jobs that are given time after a pause

-- Whether Redis was started anew since the last round. Not every host of it tells.
local function started_anew()
  local told = redis.pcall('INFO', 'server')
  local run = type(told) == 'string' and told:match('run_id:(%w+)')
  if not run then return false end
  local before = redis.call('GET', K.run)
  redis.call('SET', K.run, run)
  return before and before ~= run
end

local function bridge(time)
  local last, anew = tonumber(redis.call('GET', K.reaped) or time), started_anew()
  redis.call('SET', K.reaped, time)
  if time - last <= arg.pause then return end
  if anew then redis.call('SET', K.away, 1, 'PX', 2 * arg.lease) end
  redis.call('DEL', K.bridged)
  local held = redis.call('ZRANGE', K.leases, 0, MAX_HELD - 1, 'WITHSCORES')
  for i = 1, #held, 2 do
    local ends = math.max(held[i + 1], time + arg.grace)
    redis.call('ZADD', K.leases, ends, held[i])
    redis.call('ZADD', K.bridged, ends, held[i])
  end
  redis.call('PEXPIRE', K.bridged, 4 * arg.lease)
end

-- Whether a job's lease has not been renewed since Redis was away.
local function lost_with_redis(job)
  local ends = redis.call('ZSCORE', K.bridged, job.uid)
  return ends and ends == redis.call('ZSCORE', K.leases, job.uid) and redis.call('EXISTS', K.away) == 1
end

local time = now()
if arg.pause then bridge(time) end
local found = {}
for _, job in ipairs(jobs_due(K.leases, time)) do
  tally('lost')
  if arg.pause and lost_with_redis(job) then
    attempt_failed(job, time, arg.away, 0, true)
  else
    attempt_failed(job, time, arg.lost, 0)
  end
  found[#found + 1] = job.status
end
return found

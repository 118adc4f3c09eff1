-- How scripts change a job's record. A job is handled as a table of its record's fields, all strings.

-- The job that `arg.uid` names, when `arg.fence` is its current fence; nil, and counted, when the lease is lost.
local function leased_job()
  local job = load_job(arg.uid)
  if job and job.fence == arg.fence then return job end
  tally('stale')
  return nil
end

-- Write fields (false removes one) that a poll can see: the record's version goes up.
local function save(job, changes)
  changes.version = job.version + 1
  local written, removed = {}, {}
  for name, value in pairs(changes) do
    if value then
      written[#written + 1] = name
      written[#written + 1] = value
      job[name] = tostring(value)
    else
      removed[#removed + 1] = name
      job[name] = nil
    end
  end
  redis.call('HSET', K.job .. job.uid, unpack(written))
  if #removed > 0 then redis.call('HDEL', K.job .. job.uid, unpack(removed)) end
  tell_change(job)
end

local count_in_batch, count_following, end_in_batch -- in batches.lua

local function move_status(job, status)
  if job.status == status then return end
  count_in_batch(job, job.status, status)
  redis.call('HINCRBY', K.counts, job.status, -1)
  redis.call('HINCRBY', K.counts, status, 1)
  redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, job.uid)
  redis.call('ZADD', K.list .. status .. ':' .. job.owner, job.order, job.uid)
end

-- Jobs of a sorted set whose time has come, at most `arg.limit`. Those of a later schema are passed over, and those for
-- which `waits` is true; entries without a record removed, and of jobs that have ended where what has not is looked
-- for: none keeps others from their turn.
local function jobs_due(key, time, waits)
  local found = {}
  for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', time, 'LIMIT', 0, 5 * arg.limit)) do
    if #found == arg.limit then break end
    local read = redis.call('HMGET', K.job .. uid, 'schema', 'completed_at')
    local schema = read[1]
    local may_have_ended = key == K.ended or key == K.output_ends
    if not schema or (read[2] and not may_have_ended and not later_schema({schema = schema})) then
      redis.call('ZREM', key, uid)
    elseif not later_schema({schema = schema}) then
      local job = load_job(uid)
      if not (waits and waits(job)) then found[#found + 1] = job end
    end
  end
  return found
end

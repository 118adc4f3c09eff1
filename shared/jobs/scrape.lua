#!lua flags=no-writes
-- Everything that /metrics tells of the store, at one moment. What it reads does not grow with the jobs.
--
-- Arguments: queues (the Celery queues' names), max_workers (looked at).
-- Keys: order, counts, waiting, tally, leases, delayed, ended, refs, unused, sweeping, upload_ends, batch_work,
--   deliveries, workers, worker_ends,
--   archive_work, archive_ends, archive:<uid>, turns:<lane>, wait:<lane>:<owner>, job:<uid>; the Celery queues' lists.
-- Returns {counts, waiting, tally (names and values in turn), {bells of each queue}, {orders given out, leases, leases that have
--   run out, in back-off, ended ones whose retention is over, uploads, inputs that are named, unused, being deleted,
--   batches that chores should take up, receivers with something due, archives that wait, are built, and are ready,
--   milliseconds since the oldest that is not ready was wanted},
--   offers of the live workers, {lane, seconds since the acceptance of its oldest job, ...}}.

local MAX_LINES = 64 -- owners looked at in one lane, and lanes
local PRIORITIES = 10

local time = now()

-- When the job was accepted that waits in a lane and was accepted first: a line is ordered by priority, then by
-- acceptance, so that the first of each priority is looked at.
local function oldest(lane)
  local first, uid
  for _, owner in ipairs(redis.call('ZRANGE', K.turns .. lane, 0, MAX_LINES - 1)) do
    local place = 0
    for _ = 1, PRIORITIES do
      local line = K.wait .. lane .. ':' .. owner
      local found = redis.call('ZRANGEBYSCORE', line, place, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
      if #found == 0 then break end
      local order = found[2] % 1e13
      if not first or order < first then first, uid = order, found[1] end
      place = (math.floor(found[2] / 1e13) + 1) * 1e13
    end
  end
  return uid and redis.call('HGET', K.job .. uid, 'created_at')
end

-- When the archive was wanted that is not ready and was wanted first.
local function first_wanted()
  local first = time
  for _, uid in ipairs(redis.call('ZRANGE', K.archive_work, 0, MAX_LINES - 1)) do
    first = math.min(first, tonumber(redis.call('HGET', K.archive .. uid, 'wanted_at') or time))
  end
  return first
end

local bells = {}
for i, queue in ipairs(arg.queues) do bells[i] = redis.call('LLEN', queue) end

local waiting = redis.call('HGETALL', K.waiting)
local ages = {}
for i = 1, math.min(#waiting, 2 * MAX_LINES), 2 do
  local accepted = tonumber(waiting[i + 1]) > 0 and oldest(waiting[i])
  if accepted then
    ages[#ages + 1] = waiting[i]
    ages[#ages + 1] = tostring((time - accepted) / 1000)
  end
end

local live = redis.call('ZRANGEBYSCORE', K.worker_ends, '(' .. time, '+inf', 'LIMIT', 0, arg.max_workers)
return {
  redis.call('HGETALL', K.counts), waiting, redis.call('HGETALL', K.tally), bells,
  {
    redis.call('GET', K.order) or 0, redis.call('ZCARD', K.leases), redis.call('ZCOUNT', K.leases, '-inf', time), redis.call('ZCARD', K.delayed),
    redis.call('ZCOUNT', K.ended, '-inf', time), redis.call('ZCARD', K.upload_ends), redis.call('HLEN', K.refs),
    redis.call('ZCARD', K.unused), redis.call('ZCARD', K.sweeping), redis.call('ZCOUNT', K.batch_work, '-inf', time),
    redis.call('ZCOUNT', K.deliveries, '-inf', time), redis.call('ZCOUNT', K.archive_work, '-inf', time),
    redis.call('ZCOUNT', K.archive_work, '(' .. time, '+inf'), redis.call('ZCARD', K.archive_ends), time - first_wanted(),
  },
  #live > 0 and redis.call('HMGET', K.workers, unpack(live)) or {}, ages,
}

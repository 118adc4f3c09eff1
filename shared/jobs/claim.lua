#!lua flags=allow-oom
-- Start an attempt at the next job of the given lanes: owners in turn, within an owner by priority and age.
-- Jobs whose deadline has passed are left to `expire`, records of a later schema to later workers.
--
-- Arguments: queue (`intake` or `paint`), lanes (that the worker serves), worker, token (random), lease (ms),
--   schema.
-- Keys: turns:<lane>, wait:<lane>:<owner>, job:<uid>, waiting, turn, leases, counts, list:<status>:<owner>.
-- Returns {fence, record}; empty when nothing that can be claimed waits.

local MAX_LANES, MAX_OWNERS, MAX_JOBS = 64, 16, 16 -- looked at in one call, of each

local function owners_in_turn()
  local owners = {}
  for i = 1, math.min(#arg.lanes, MAX_LANES) do
    local lane = arg.lanes[i]
    local found = redis.call('ZRANGE', K.turns .. lane, 0, MAX_OWNERS - 1, 'WITHSCORES')
    for j = 1, #found, 2 do
      owners[#owners + 1] = {lane = lane, name = found[j], turn = tonumber(found[j + 1])}
    end
  end
  table.sort(owners, function(a, b) return a.turn < b.turn end)
  return owners
end

local function next_job(owner, time)
  local uids = redis.call('ZRANGE', K.wait .. owner.lane .. ':' .. owner.name, 0, MAX_JOBS - 1)
  for _, uid in ipairs(uids) do
    local job = load_job(uid)
    if not later_schema(job) and time < tonumber(job.deadline_at) then return job end
  end
  return nil
end

local function to_the_end_of_the_line(name)
  local turn = redis.call('INCR', K.turn)
  for i = 1, math.min(#arg.lanes, MAX_LANES) do
    redis.call('ZADD', K.turns .. arg.lanes[i], 'XX', turn, name)
  end
end

local time = now()
local owners = owners_in_turn()
for i = 1, math.min(#owners, MAX_OWNERS) do
  local job = next_job(owners[i], time)
  if job then
    stop_waiting(job)
    to_the_end_of_the_line(job.owner)
    local fences = redis.call('HINCRBY', K.job .. job.uid, 'fences', 1)
    local changes = {
      fence = fences .. '-' .. arg.token,
      attempt = (job.attempt or 0) + 1,
      worker = arg.worker,
      waited = (job.waited or 0) + time - job.waiting_since,
    }
    if arg.queue == 'paint' then
      move_status(job, 'processing')
      changes.status = 'processing'
      changes.stage = 'painting'
      changes.started_at = job.started_at or time
    end
    save(job, changes)
    redis.call('ZADD', K.leases, time + arg.lease, job.uid)
    return {job.fence, redis.call('HGETALL', K.job .. job.uid)}
  end
end
return {}

#!lua flags=allow-oom
-- Cancel some jobs of a batch that is to stop: first those that are queued, which end at once; then those that are
-- processing are asked to. One that is queued again by then is found by the next call.
--
-- Arguments: uid, holder, limit (jobs in one call), lease, retention (ms), schema.
-- Keys: batch:<uid>, batch_items:<uid>:<status>, batch_work, batch_ended, batch_unheld, job:<uid>; those of ending a
--   job.
-- Returns {1} while there is more to do, {0} when there is not; empty when the claim is lost.

local batch = held_batch()
if not batch or batch.cancel_requested ~= '1' then return {} end
local time = now()

-- Do something with some jobs of a status behind a place, as far as they are ours to change. Each is read when its
-- turn comes: it may have followed one before it. Returns how many there were, and the place of the last one.
local function each(status, after, work)
  local ours = 0
  local flat = redis.call('ZRANGEBYSCORE', items_of(batch.uid, status), after, '+inf', 'WITHSCORES', 'LIMIT', 0, arg.limit)
  for i = 1, #flat, 2 do
    local job = load_job(flat[i])
    if job and not later_schema(job) then
      ours = ours + 1
      work(job)
    end
  end
  return ours, flat[#flat]
end

local queued = each('queued', '-inf', function(job)
  if job.status == 'queued' then end_job(job, time, 'canceled', {}) end
end)
if queued == 0 then
  local _, last = each('processing', batch.stopped and '(' .. batch.stopped or '-inf', function(job)
    if job.cancel_requested ~= '1' then save(job, {cancel_requested = 1}) end
  end)
  if not last then
    redis.call('HDEL', K.batch .. batch.uid, 'stopped', 'holder')
    redis.call('ZREM', K.batch_work, batch.uid)
    return {0}
  end
  redis.call('HSET', K.batch .. batch.uid, 'stopped', last)
end
redis.call('ZADD', K.batch_work, 'XX', time + arg.lease, batch.uid)
return {1}

#!lua flags=allow-oom
-- Purge some jobs of an ended batch whose retention is over or that was deleted; with the last of them, the batch.
--
-- Arguments: limit (jobs in one call), statuses (each that there is), grace (ms), schema, batch_schema.
-- Keys: batch_ended, batch:<uid>, batch_items:<uid>:<status>, batches:<owner>, batch_idempotency:<key>:<owner>,
--   tally; those of `purge`.
-- Returns {uid, 1 when the batch itself is gone, record of each job as purge_job has it}; empty when none is due.

local MAX_LOOKS = 50
local LATER = 60000 -- until one is looked at again

-- The first that is due and ours to purge. One that others are yet to read waits for them.
local function due(time)
  for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.batch_ended, '-inf', time, 'LIMIT', 0, MAX_LOOKS)) do
    local batch = load_batch(uid)
    if not batch then
      redis.call('ZREM', K.batch_ended, uid)
    elseif #readers_of(uid) > 0 then
      redis.call('ZADD', K.batch_ended, time + LATER, uid)
    elseif tonumber(batch.schema) <= arg.batch_schema then
      return batch
    end
  end
  return nil
end

local time = now()
local batch = due(time)
if not batch then return {} end
hide_batch(batch) -- half of its jobs are not to be tried again

local reply = {batch.uid, 0}
local later = false
for _, status in ipairs(arg.statuses) do
  local items = items_of(batch.uid, status)
  local left = arg.limit - (#reply - 2)
  if left > 0 then
    for _, uid in ipairs(redis.call('ZRANGEBYSCORE', items, '-inf', '+inf', 'LIMIT', 0, left)) do
      local job = load_job(uid)
      if not job then
        redis.call('ZREM', items, uid)
      elseif later_schema(job) or not job.completed_at then
        later = true
      else
        reply[#reply + 1] = purge_job(job, time)
      end
    end
  end
end
if later then
  -- A later worker's to purge: this one looks again in a while.
  redis.call('ZADD', K.batch_ended, time + LATER, batch.uid)
elseif #reply == 2 then
  for _, status in ipairs(arg.statuses) do redis.call('DEL', items_of(batch.uid, status)) end
  recount('batches', batch.status)
  forget_deliveries('batch', batch)
  redis.call('DEL', K.batch .. batch.uid)
  redis.call('ZREM', K.batch_ended, batch.uid)
  local remembered = batch.idempotency_key and K.batch_idempotency .. batch.idempotency_key .. ':' .. batch.owner
  if remembered and redis.call('GET', remembered) == batch.uid then redis.call('DEL', remembered) end
  if redis.call('EXISTS', K.archive .. batch.uid) == 1 then redis.call('ZADD', K.archive_ends, time, batch.uid) end
  reply[2] = 1
end
return reply

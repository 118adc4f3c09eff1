#!lua flags=allow-oom
-- A batch's lines cannot be read: they are gone, or are not what was stored. Looked for again a little later each time,
-- for a while and a few times at least; after the last try nothing more is made of the batch, and it has failed once the
-- jobs that were made have ended.
--
-- Arguments: uid, holder, error (JSON), patience (ms), max_attempts, retry_delay, retention (ms).
-- Keys: batch:<uid>, batch_work, batch_ended, batch_unheld.
-- Returns {1} when that was the last try, {0} when there will be others; empty when the claim is lost or the batch has
--   ended.

local LONGEST = 60000 -- between two looks

local batch = held_batch()
if not batch or batch.completed_at then return {} end
local time = now()
redis.call('HSETNX', K.batch .. batch.uid, 'missed_at', time)
local since = tonumber(redis.call('HGET', K.batch .. batch.uid, 'missed_at'))
local tries = redis.call('HINCRBY', K.batch .. batch.uid, 'misses', 1)
if tries < arg.max_attempts or time - since < arg.patience then
  redis.call('HDEL', K.batch .. batch.uid, 'holder')
  redis.call('ZADD', K.batch_work, time + math.min(arg.retry_delay * 2 ^ (tries - 1), LONGEST), batch.uid)
  return {0}
end
if batch.status == 'validating' then
  end_batch(batch, time, 'failed', {error = arg.error, misses = false, missed_at = false})
else
  save_batch(batch, {error = arg.error, misses = false, missed_at = false, holder = false})
  redis.call('ZREM', K.batch_work, batch.uid)
  settle_batch(batch, time)
end
return {1}

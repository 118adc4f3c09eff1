#!lua flags=allow-oom
-- A batch's lines cannot be read: they are gone, or are not what was stored. Looked for again a little later each time;
-- after the last try nothing more is made of the batch, and it has failed once the jobs that were made have ended.
--
-- Arguments: uid, holder, error (JSON), max_attempts, retry_delay, retention (ms).
-- Keys: batch:<uid>, batch_work, batch_ended, batch_unheld.
-- Returns {1} when that was the last try, {0} when there will be others; empty when the claim is lost or the batch has
--   ended.

local batch = held_batch()
if not batch or batch.completed_at then return {} end
local time = now()
local tries = redis.call('HINCRBY', K.batch .. batch.uid, 'misses', 1)
if tries < arg.max_attempts then
  redis.call('HDEL', K.batch .. batch.uid, 'holder')
  redis.call('ZADD', K.batch_work, time + arg.retry_delay * 2 ^ (tries - 1), batch.uid)
  return {0}
end
if batch.status == 'validating' then
  end_batch(batch, time, 'failed', {error = arg.error, misses = false})
else
  save_batch(batch, {error = arg.error, misses = false, holder = false})
  redis.call('ZREM', K.batch_work, batch.uid)
  settle_batch(batch, time)
end
return {1}

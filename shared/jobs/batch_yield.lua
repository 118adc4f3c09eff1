#!lua flags=allow-oom
-- Give a claim to a batch back: what is left of the work, if any, waits behind that of other batches.
--
-- Arguments: uid, holder.
-- Keys: batch:<uid>, batch_work.
-- Returns {1}; empty when the claim is lost.

local batch = held_batch()
if not batch then return {} end
redis.call('HDEL', K.batch .. batch.uid, 'holder')
local made = batch.loaded == batch.total or batch.error
if batch.status == 'processing' and batch.cancel_requested ~= '1' and made then
  redis.call('ZREM', K.batch_work, batch.uid)
else
  redis.call('ZADD', K.batch_work, 'XX', now(), batch.uid)
end
return {1}

#!lua flags=allow-oom
-- Prolong a claim to a batch.
--
-- Arguments: uid, holder, lease (ms).
-- Keys: batch:<uid>, batch_work.
-- Returns {1}; empty when the claim is lost or the batch has ended.

local batch = held_batch()
if not batch then return {} end
redis.call('ZADD', K.batch_work, 'XX', now() + arg.lease, batch.uid)
return {1}

#!lua flags=allow-oom
-- A caller wants an ended batch and its jobs to go: it is hidden at once, chores purge it.
--
-- Arguments: owner, id.
-- Keys: batch:<uid>, batches:<owner>, batch_ended, batch_unheld.
-- Returns {outcome}: `ok` or `conflict` (it has not ended); empty when there is none.

local batch = find_batch(arg.owner, arg.id)
if not batch then return {} end
if not batch.completed_at then return {'conflict'} end
redis.call('HSET', K.batch .. batch.uid, 'deleted', 1)
redis.call('ZREM', K.batches .. batch.owner, batch.uid)
redis.call('ZADD', K.batch_ended, now(), batch.uid)
redis.call('ZADD', K.batch_unheld, now(), batch.uid)
return {'ok'}

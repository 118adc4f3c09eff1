#!lua flags=allow-oom
-- A caller wants an ended batch and its jobs to go: it is hidden at once, chores purge it.
--
-- Arguments: owner, id.
-- Keys: batch:<uid>, batches:<owner>, batch_ended, batch_unheld.
-- Returns {outcome, uid}: `ok`, `conflict` (it has not ended) or `read` (the batch of this uid, which tries it again,
--   has yet to read it); empty when there is none.

local batch = find_batch(arg.owner, arg.id)
if not batch then return {} end
if not batch.completed_at then return {'conflict'} end
local reader = readers_of(batch.uid)[1]
if reader then return {'read', reader} end
hide_batch(batch)
redis.call('ZADD', K.batch_ended, now(), batch.uid)
redis.call('ZADD', K.batch_unheld, now(), batch.uid)
return {'ok'}

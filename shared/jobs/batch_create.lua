#!lua
-- Accept a batch, or find the one that this request repeats. Its lines are stored already.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: record (fields that Python gives: uid, id, owner, schema, status, total, metadata, webhook, body_hash,
--   retry_of), idempotency_key (optional), idempotency_ttl (ms).
-- Keys: batch:<uid>, batch_idempotency:<key>:<owner>, batches:<owner>, order, batch_work, batch_unheld, tally.
-- Returns {outcome, record}: outcome is `created`, `existing`, `mismatch` (the Idempotency-Key is another request's)
--   or, without a record, `gone` (the batch that it is to try again was deleted).

local batch = arg.record
local idempotency = arg.idempotency_key and K.batch_idempotency .. arg.idempotency_key .. ':' .. batch.owner
local known = idempotency and redis.call('GET', idempotency)
local existing = known and load_batch(known) or load_batch(batch.uid)
-- Keys and owners may have colons: another owner's may be of the same name.
if existing and existing.owner == batch.owner and existing.deleted ~= '1' then
  -- The very same record again is a repeated command whose answer was lost.
  local outcome = existing.uid == batch.uid and 'created' or 'existing'
  if existing.body_hash ~= batch.body_hash then outcome = 'mismatch' end
  return {outcome, redis.call('HGETALL', K.batch .. existing.uid)}
end

-- The batch that is tried again is kept until this one has read it.
if batch.retry_of then
  if not find_batch(batch.owner, batch.retry_of) then return {'gone'} end
  local readers = readers_of(batch.retry_of)
  readers[#readers + 1] = batch.uid
  redis.call('HSET', K.batch .. batch.retry_of, 'readers', cjson.encode(readers))
end

local time = now()
batch.created_at = time
batch.version = 1
batch.loaded = 0
batch.idempotency_key = arg.idempotency_key
batch.order = redis.call('INCR', K.order)
recount('batches', nil, batch.status)
for name, value in pairs(batch) do redis.call('HSET', K.batch .. batch.uid, name, value) end
if idempotency then redis.call('SET', idempotency, batch.uid, 'PX', arg.idempotency_ttl) end
redis.call('ZADD', K.batches .. batch.owner, batch.order, batch.uid)
redis.call('ZADD', K.batch_work, time, batch.uid)
redis.call('ZREM', K.batch_unheld, batch.uid)
return {'created', redis.call('HGETALL', K.batch .. batch.uid)}

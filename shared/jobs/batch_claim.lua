#!lua flags=allow-oom
-- Take up the batch that has waited longest for chores: nobody else works on it while the claim lasts.
--
-- Arguments: holder (random), lease (ms), batch_schema.
-- Keys: batch_work, batch:<uid>.
-- Returns the record; empty when nothing is to be done.

local MAX_LOOKS = 50

local time = now()
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.batch_work, '-inf', time, 'LIMIT', 0, MAX_LOOKS)) do
  local batch = load_batch(uid)
  if not batch then
    redis.call('ZREM', K.batch_work, uid)
  elseif tonumber(batch.schema) <= arg.batch_schema then
    redis.call('ZADD', K.batch_work, time + arg.lease, uid)
    redis.call('HSET', K.batch .. uid, 'holder', arg.holder)
    return redis.call('HGETALL', K.batch .. uid)
  end
end
return {}

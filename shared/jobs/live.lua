#!lua flags=allow-oom
-- What the live workers offer; those whose advertisement lapsed are forgotten, a bounded number in one call.
--
-- Arguments: limit.
-- Keys: workers, worker_ends.
-- Returns each offer.

local time = now()
for _, name in ipairs(redis.call('ZRANGEBYSCORE', K.worker_ends, '-inf', time, 'LIMIT', 0, arg.limit)) do
  redis.call('HDEL', K.workers, name)
  redis.call('ZREM', K.worker_ends, name)
end
local live = redis.call('ZRANGEBYSCORE', K.worker_ends, '(' .. time, '+inf', 'LIMIT', 0, arg.limit)
if #live == 0 then return {} end
return redis.call('HMGET', K.workers, unpack(live))

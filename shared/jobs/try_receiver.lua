#!lua
-- Tell a receiver that it can be reached: a delivery of no job, attempted once and kept for the retention time.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: id, owner, type, url, retention (ms).
-- Keys: delivery:<id>, deliveries, delivery_line:<line>, delivery_list:<state>:<owner>, delivery_order, delivery_ends.
-- Returns the delivery's hash.

local time = now()
new_delivery(arg.id, {
  owner = arg.owner, kind = 'test', type = arg.type, url = arg.url, at = time, ends = time + arg.retention, version = 1,
}, time)
redis.call('ZADD', K.delivery_ends, time + arg.retention, arg.id)
return redis.call('HGETALL', K.delivery .. arg.id)

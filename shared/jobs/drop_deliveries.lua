#!lua flags=allow-oom
-- Forget deliveries of no job whose retention is over.
--
-- Arguments: limit (deliveries in one call).
-- Keys: delivery_ends, delivery:<id>, deliveries, delivery_line:<line>, delivery_list:<state>:<owner>.
-- Returns {how many}.

local ids = redis.call('ZRANGEBYSCORE', K.delivery_ends, '-inf', now(), 'LIMIT', 0, arg.limit)
for _, id in ipairs(ids) do
  local delivery = load_delivery(id)
  if delivery then forget_delivery(delivery) end
  redis.call('ZREM', K.delivery_ends, id)
end
return {#ids}

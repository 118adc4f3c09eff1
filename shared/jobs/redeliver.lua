#!lua flags=allow-oom
-- Send a delivery once more, as if it had just been told: now, and after that by the whole schedule.
--
-- Arguments: owner, id.
-- Keys: delivery:<id>, deliveries, delivery_line:<line>, delivery_list:<state>:<owner>.
-- Returns {outcome, hash}: outcome is `ok` or `conflict` (an attempt is under way); empty when there is none.

local delivery = load_delivery(arg.id)
if not delivery or delivery.owner ~= arg.owner then return {} end
local time = now()
local due = redis.call('ZSCORE', K.delivery_line .. line_of(delivery), arg.id)
if delivery.fence and due and tonumber(due) > time then
  return {'conflict', redis.call('HGETALL', K.delivery .. arg.id)}
end
redis.call('HDEL', K.delivery .. arg.id, 'fence')
redis.call('HSET', K.delivery .. arg.id, 'tries', 0)
move_delivery(delivery, 'waiting')
stand_in_line(delivery, time)
return {'ok', redis.call('HGETALL', K.delivery .. arg.id)}

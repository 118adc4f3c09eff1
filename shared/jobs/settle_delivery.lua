#!lua flags=allow-oom
-- An attempt to deliver has ended: keep what came of it, and try again later, or not.
--
-- Arguments: id, fence, attempt (JSON: what is kept of it), outcome: `delivered`; `again` (after `delay` ms, but not
--   past the end of what it tells of); `failed` (no attempt is left); `gone` (the receiver wants no more of this job
--   or batch).
-- Keys: delivery:<id>, deliveries, delivery_line:<line>, delivery_list:<state>:<owner>, job:<uid>, batch:<uid>, tally.
-- Returns {the delivery's state}; empty when the lease is lost: another attempt is made, or it was purged.

local MAX_LOG = 20 -- attempts that are kept

local delivery = load_delivery(arg.id)
if not delivery or delivery.fence ~= arg.fence then return {} end
local time = now()

local log = cjson.decode(delivery.log or '[]')
log[#log + 1] = cjson.decode(arg.attempt)
for _ = MAX_LOG + 1, #log do table.remove(log, 1) end
redis.call('HSET', K.delivery .. arg.id, 'log', cjson.encode(log))
redis.call('HDEL', K.delivery .. arg.id, 'fence')
tally(arg.outcome == 'delivered' and 'delivered' or 'undelivered')

-- What else of the same job or batch waits to be sent is not sent, and nothing more of it is told.
local function disable()
  local job = delivery.kind == 'job' and load_job(delivery.uid)
  if job then
    save(job, {webhook_off = 1})
  elseif redis.call('EXISTS', K.batch .. delivery.uid) == 1 then
    redis.call('HSET', K.batch .. delivery.uid, 'webhook_off', 1)
    redis.call('HINCRBY', K.batch .. delivery.uid, 'version', 1)
  end
  for _, other in ipairs(deliveries_of(delivery.kind, delivery.uid)) do
    if other.state == 'waiting' then
      leave_line(other)
      move_delivery(other, 'disabled')
    end
  end
end

local due = time + (arg.delay or 0)
if arg.outcome == 'delivered' then
  leave_line(delivery)
  move_delivery(delivery, 'delivered')
elseif arg.outcome == 'gone' and delivery.kind ~= 'test' then
  disable()
  delivery.state = 'disabled'
elseif delivery.state ~= 'waiting' then
  -- Another of the same job met a receiver that is gone: this one stays disabled.
  leave_line(delivery)
elseif arg.outcome == 'again' and due < tonumber(delivery.ends) then
  stand_in_line(delivery, due)
else
  leave_line(delivery)
  move_delivery(delivery, 'failed')
  tally('abandoned')
end
return {delivery.state}

-- What receivers are to be told: written by the scripts that change a job or a batch, so that no event is lost and
-- none is told twice. Called when a job begins and ends, and when a batch ends.
--
-- A delivery is a hash, `delivery:<id>`. Its ID follows from what it tells of: an event has one delivery, however
-- often it is told. While it is to be sent it stands in a *line*, that of one receiver and owner, by the time it is
-- due; `deliveries` has the lines, each by the time of its first. Who sends one moves it to the end of the lease, so
-- that it is due again if its sender is lost. `delivery_list:<state>:<owner>` has the owner's, by order.
--
-- Keys, for any script that begins, ends or purges a job: delivery:<id>, deliveries, delivery_line:<line>,
--   delivery_list:<state>:<owner>, delivery_order, tally.

local JOB_EVENTS = {'job.processing', 'job.succeeded', 'job.failed', 'job.canceled', 'job.expired'}
local BATCH_EVENTS = {'batch.completed', 'batch.failed', 'batch.canceled'}

-- The IDs are names in headers and addresses: no dots, which the signature puts between its parts.
local function delivery_id(uid, event)
  return 'msg_' .. string.gsub(uid, '^%a+_', '') .. '_' .. string.gsub(event, '%.', '_')
end

local function load_delivery(id)
  local flat = redis.call('HGETALL', K.delivery .. id)
  if #flat == 0 then return nil end
  local delivery = {id = id}
  for i = 1, #flat, 2 do delivery[flat[i]] = flat[i + 1] end
  return delivery
end

-- The line of a receiver: host and port as its address has them, then the owner, who may contain anything.
local function line_of(delivery)
  local host = string.match(delivery.url, '^%a+://([^/?#]+)')
  return string.lower(host) .. ' ' .. delivery.owner
end

-- A line stands among the lines by the time of its first delivery, or not at all.
local function settle_line(line)
  local first = redis.call('ZRANGEBYSCORE', K.delivery_line .. line, '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if #first == 0 then
    redis.call('ZREM', K.deliveries, line)
  else
    redis.call('ZADD', K.deliveries, first[2], line)
  end
end

local function stand_in_line(delivery, due)
  local line = line_of(delivery)
  redis.call('ZADD', K.delivery_line .. line, due, delivery.id)
  settle_line(line)
end

local function leave_line(delivery)
  local line = line_of(delivery)
  redis.call('ZREM', K.delivery_line .. line, delivery.id)
  settle_line(line)
end

local DELIVERY_STATES = {'waiting', 'delivered', 'failed', 'disabled'}

-- States: `waiting` to be sent, now or again; `delivered`; `failed`, given up; `disabled`, its receiver is gone.
local function move_delivery(delivery, state)
  redis.call('ZREM', K.delivery_list .. delivery.state .. ':' .. delivery.owner, delivery.id)
  redis.call('ZADD', K.delivery_list .. state .. ':' .. delivery.owner, delivery.order, delivery.id)
  redis.call('HSET', K.delivery .. delivery.id, 'state', state)
  recount('deliveries', delivery.state, state)
  delivery.state = state
end

-- Begin a delivery, due at once. `fields` are the hash's own: owner, kind (`job`, `batch` or `test`), uid and name
-- (of what it tells of), type, url, at, ends (ms), version, batch.
local function new_delivery(id, fields, time)
  if redis.call('EXISTS', K.delivery .. id) == 1 then return end
  fields.state = 'waiting'
  recount('deliveries', nil, fields.state)
  fields.order = redis.call('INCR', K.delivery_order)
  for name, value in pairs(fields) do redis.call('HSET', K.delivery .. id, name, value) end
  redis.call('ZADD', K.delivery_list .. 'waiting:' .. fields.owner, fields.order, id)
  fields.id = id
  stand_in_line(fields, time)
end

local function wants(hook, event)
  for _, name in ipairs(hook.events or {}) do
    if name == event then return true end
  end
  return #(hook.events or {}) == 0
end

local function tell(kind, subject, event, time)
  if not subject.webhook or subject.webhook_off then return end
  local hook = cjson.decode(subject.webhook)
  if not wants(hook, event) then return end
  new_delivery(delivery_id(subject.uid, event), {
    owner = subject.owner, kind = kind, uid = subject.uid, name = subject.id, type = event, url = hook.url,
    at = time, ends = subject.output_expires_at or subject.expires_at or subject.deadline_at,
    version = subject.version, batch = subject.batch_id,
  }, time)
end

-- A job has begun or ended: called once it is saved, with the table of its record.
local function tell_receiver(job, event, time)
  tell('job', job, event, time)
end

-- A batch has ended: called once it is saved, with the table of its record (uid, id, owner, webhook, version,
-- expires_at).
local function tell_batch_receiver(batch, event, time)
  tell('batch', batch, event, time)
end

-- Forget one, wherever it stands.
local function forget_delivery(delivery)
  leave_line(delivery)
  recount('deliveries', delivery.state)
  redis.call('ZREM', K.delivery_list .. delivery.state .. ':' .. delivery.owner, delivery.id)
  redis.call('DEL', K.delivery .. delivery.id)
end

-- The deliveries that there are of a job or a batch.
local function deliveries_of(kind, uid)
  local found = {}
  for _, event in ipairs(kind == 'batch' and BATCH_EVENTS or JOB_EVENTS) do
    found[#found + 1] = load_delivery(delivery_id(uid, event))
  end
  return found
end

-- A job (`job`) or batch (`batch`) is purged, given as the table of its record: so are its deliveries.
local function forget_deliveries(kind, subject)
  if not subject.webhook then return end
  for _, delivery in ipairs(deliveries_of(kind, subject.uid)) do forget_delivery(delivery) end
end

#!lua flags=allow-oom
-- Hand out deliveries that are due, of each line no more than there is room for: a receiver or an owner who has as many
-- under way as allowed is passed over, and others go ahead. One whose sender is lost is due again at the lease's end.
--
-- Arguments: most (deliveries), hosts, owners (name -> how many the asker has under way), slow (host -> 1, for those
--   that get one at a time), host_slots, owner_slots, lease (ms), token (random), schema.
-- Keys: deliveries, delivery_line:<line>, delivery:<id>, delivery_list:<state>:<owner>, job:<uid>, batch:<uid>,
--   webhook_secrets:<owner>.
-- Returns for each {id, fence, delivery's hash, hash of the job or batch, the owner's secrets (see `webhook_secrets`;
--   empty where none was made)}.

local MAX_LINES = 256 -- looked at in one call
local LATER = 60000 -- ms after which a record of a later schema is looked at again
local PASSED_OVER = 1000 -- likewise of lines without room, when there are too many of them to look behind

local time = now()
local found = {}

-- The hash of what a delivery tells of; nil when it is gone.
local function subject_of(delivery)
  if delivery.kind == 'test' then return {} end
  local flat = redis.call('HGETALL', (delivery.kind == 'batch' and K.batch or K.job) .. delivery.uid)
  return #flat > 0 and flat or nil
end

local function schema_of(flat)
  for i = 1, #flat, 2 do
    if flat[i] == 'schema' then return tonumber(flat[i + 1]) end
  end
  return 0
end

local function hand_out(id, line)
  local key = K.delivery_line .. line
  local delivery = load_delivery(id)
  if not delivery then
    redis.call('ZREM', key, id)
    return false
  end
  local subject = subject_of(delivery)
  if not subject then
    forget_delivery(delivery)
    return false
  end
  if delivery.kind == 'job' and schema_of(subject) > arg.schema then
    redis.call('ZADD', key, time + LATER, id)
    return false
  end
  local attempts = redis.call('HINCRBY', K.delivery .. id, 'attempts', 1)
  local fence = attempts .. '-' .. arg.token
  redis.call('HINCRBY', K.delivery .. id, 'tries', 1)
  redis.call('HSET', K.delivery .. id, 'fence', fence)
  redis.call('ZADD', key, time + arg.lease, id)
  local secrets = redis.call('GET', K.webhook_secrets .. delivery.owner) or ''
  found[#found + 1] = {id, fence, redis.call('HGETALL', K.delivery .. id), subject, secrets}
  return true
end

local function room(host, owner)
  local host_slots = arg.slow[host] and 1 or arg.host_slots
  return math.min(
    host_slots - (arg.hosts[host] or 0), arg.owner_slots - (arg.owners[owner] or 0), arg.most - #found)
end

local passed_over = {}
local lines = redis.call('ZRANGEBYSCORE', K.deliveries, '-inf', time, 'LIMIT', 0, MAX_LINES)
for _, line in ipairs(lines) do
  if #found >= arg.most then break end
  local host, owner = string.match(line, '^(%S+) (.*)$')
  local places = room(host, owner)
  if places <= 0 then
    passed_over[#passed_over + 1] = line
  else
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.delivery_line .. line, '-inf', time, 'LIMIT', 0, places)) do
      if hand_out(id, line) then
        arg.hosts[host] = (arg.hosts[host] or 0) + 1
        arg.owners[owner] = (arg.owners[owner] or 0) + 1
      end
    end
    settle_line(line)
  end
end
if #lines == MAX_LINES and #found < arg.most then
  for _, line in ipairs(passed_over) do redis.call('ZADD', K.deliveries, time + PASSED_OVER, line) end
end
return found

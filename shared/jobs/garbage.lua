#!lua flags=allow-oom
-- Mark inputs that nobody has named for the grace time as being deleted, and hand them out; likewise those that
-- were handed out long ago and never reported as deleted.
--
-- Arguments: limit (inputs in one call), takeover (ms after which another may delete what was handed out).
-- Keys: unused, sweeping.
-- Returns the sha256 of each.

local time = now()
local found = redis.call('ZRANGEBYSCORE', K.sweeping, '-inf', time, 'LIMIT', 0, arg.limit)
if #found < arg.limit then
  local unused = redis.call('ZRANGEBYSCORE', K.unused, '-inf', time, 'LIMIT', 0, arg.limit - #found)
  for _, sha256 in ipairs(unused) do
    redis.call('ZREM', K.unused, sha256)
    found[#found + 1] = sha256
  end
end
for _, sha256 in ipairs(found) do redis.call('ZADD', K.sweeping, time + arg.takeover, sha256) end
return found

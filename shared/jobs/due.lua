#!lua flags=no-writes
-- Ended jobs whose retention is over.
--
-- Arguments: limit (jobs in one call).
-- Keys: ended, job:<uid>.
-- Returns owner and ID of each, in one list.

local found = {}
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.ended, '-inf', now(), 'LIMIT', 0, arg.limit)) do
  local names = redis.call('HMGET', K.job .. uid, 'owner', 'id')
  found[#found + 1] = names[1]
  found[#found + 1] = names[2]
end
return found

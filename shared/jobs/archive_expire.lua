#!lua flags=allow-oom
-- Forget archives that are over, or whose batch is gone.
--
-- Arguments: limit (archives in one call).
-- Keys: archive_ends, archive:<uid>, archive_work.
-- Returns the keys of their objects, which are the caller's to delete.

local keys = {}
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.archive_ends, '-inf', now(), 'LIMIT', 0, arg.limit)) do
  keys[#keys + 1] = redis.call('HGET', K.archive .. uid, 'key') or nil
  redis.call('ZREM', K.archive_ends, uid)
  redis.call('ZREM', K.archive_work, uid)
  redis.call('DEL', K.archive .. uid)
end
return keys

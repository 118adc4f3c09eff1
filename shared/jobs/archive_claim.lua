#!lua flags=allow-oom
-- Begin to build the archive that has waited longest: one that was wanted, or whose builder is lost.
--
-- Arguments: fence (random), lease (ms).
-- Keys: archive_work, archive:<uid>, batch:<uid>.
-- Returns {uid}; empty when none is to be built.

local time = now()
local MAX_LOOKS = 16
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.archive_work, '-inf', time, 'LIMIT', 0, MAX_LOOKS)) do
  if redis.call('EXISTS', K.archive .. uid, K.batch .. uid) == 2 then
    redis.call('HSET', K.archive .. uid, 'fence', arg.fence, 'done', 0)
    redis.call('ZADD', K.archive_work, time + arg.lease, uid)
    return {uid}
  end
  redis.call('ZREM', K.archive_work, uid)
  redis.call('DEL', K.archive .. uid)
end
return {}

#!lua flags=allow-oom
-- Begin to build the archive that has waited longest: one that was wanted, or whose builder is lost.
--
-- Arguments: fence (random), lease (ms).
-- Keys: archive_work, archive:<uid>, batch:<uid>, tally.
-- Returns {uid}; empty when none is to be built.

local time = now()
local MAX_LOOKS = 16
for _, uid in ipairs(redis.call('ZRANGEBYSCORE', K.archive_work, '-inf', time, 'LIMIT', 0, MAX_LOOKS)) do
  local archive = load_archive(uid)
  if archive and archive.state ~= 'ready' and redis.call('EXISTS', K.batch .. uid) == 1 then
    if archive.fence then tally('archive:failed') end
    redis.call('HSET', K.archive .. uid, 'fence', arg.fence, 'done', 0, 'begun_at', time)
    redis.call('ZADD', K.archive_work, time + arg.lease, uid)
    return {uid}
  end
  redis.call('ZREM', K.archive_work, uid)
  if archive and archive.state ~= 'ready' then redis.call('DEL', K.archive .. uid) end
end
return {}

#!lua flags=allow-oom
-- An archive is stored: it is ready. Repeating it (the answer was lost) changes nothing and succeeds.
--
-- Arguments: uid, fence, key, size, done (items), keep (ms), bounds (ms, of the buckets that times are counted in).
-- Keys: archive:<uid>, batch:<uid>, archive_work, archive_ends, tally.
-- Returns {1}; empty when it is another's to build.

local archive = held_archive()
if not archive then return {} end
if archive.state == 'ready' then return {1} end
local time = now()
local expires = time + arg.keep
redis.call('HSET', K.archive .. arg.uid, 'state', 'ready', 'key', arg.key, 'size', arg.size, 'done', arg.done,
  'expires_at', expires)
redis.call('ZREM', K.archive_work, arg.uid)
redis.call('ZADD', K.archive_ends, expires, arg.uid)
tally('archive:built')
measure('archive', time - (archive.begun_at or time), arg.bounds)
return {1}

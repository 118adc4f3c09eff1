#!lua flags=allow-oom
-- The object of an archive that is ready is gone, or damaged: have it built anew, unless that was seen to already.
--
-- Arguments: uid, key (of that object), total (items).
-- Keys: archive:<uid>, archive_work, archive_ends.
-- Returns the archive, names and values in turn; empty when it is over.

local archive, time = load_archive(arg.uid), now()
if archive and archive.key == arg.key then
  redis.call('DEL', K.archive .. arg.uid)
  redis.call('HSET', K.archive .. arg.uid, 'state', 'building', 'done', 0, 'total', arg.total, 'wanted_at', time)
  redis.call('ZREM', K.archive_ends, arg.uid)
  redis.call('ZADD', K.archive_work, time, arg.uid)
end
return redis.call('HGETALL', K.archive .. arg.uid)

#!lua flags=allow-oom
-- Somebody wants the archive of an ended batch: have it built, unless it is there or being built.
--
-- Arguments: uid, total (items).
-- Keys: archive:<uid>, archive_work, archive_ends.
-- Returns the archive, names and values in turn.

local archive, time = load_archive(arg.uid), now()
if archive and archive.state == 'ready' and tonumber(archive.expires_at) <= time then
  -- Whoever deletes the old one is told of its key.
  redis.call('ZADD', K.archive_ends, time, arg.uid)
  return {'state', 'building', 'done', 0, 'total', arg.total}
end
if not archive then
  redis.call('HSET', K.archive .. arg.uid, 'state', 'building', 'done', 0, 'total', arg.total, 'wanted_at', time)
  redis.call('ZADD', K.archive_work, time, arg.uid)
end
return redis.call('HGETALL', K.archive .. arg.uid)

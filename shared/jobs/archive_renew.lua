#!lua flags=allow-oom
-- An archive is still being built, or is given back to be begun anew.
--
-- Arguments: uid, fence, done (items), lease (ms; 0: given back), failed (true: a fault is why).
-- Keys: archive:<uid>, batch:<uid>, archive_work, tally.
-- Returns {1}; empty when it is another's to build, or built.

local archive = held_archive()
if not archive or archive.state == 'ready' then return {} end
redis.call('HSET', K.archive .. arg.uid, 'done', arg.done)
if arg.failed then tally('archive:failed') end
if arg.lease == 0 then redis.call('HDEL', K.archive .. arg.uid, 'fence') end
redis.call('ZADD', K.archive_work, now() + arg.lease, arg.uid)
return {1}

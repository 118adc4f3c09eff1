#!lua flags=allow-oom
-- A worker has asked Redis in vain for a good part of a lease: what the reaper's pause meanwhile cost (reap.lua)
-- is charged to no job.
--
-- Arguments: lease (ms).
-- Keys: away.
-- Returns {1}.

redis.call('SET', K.away, 1, 'PX', 2 * arg.lease)
return {1}

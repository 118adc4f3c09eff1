#!lua flags=allow-oom
-- A worker says what it offers, for a while.
--
-- Arguments: name, offer (JSON), ttl (ms).
-- Keys: workers, worker_ends.
-- Returns {1}.

redis.call('HSET', K.workers, arg.name, arg.offer)
redis.call('ZADD', K.worker_ends, now() + arg.ttl, arg.name)
return {1}

#!lua flags=allow-oom
-- Ring a bell of a stage, unless as many are outstanding as may be. With allow-oom, since what waits has to be
-- worked off for a full server to empty.
--
-- Arguments: queue (the stage, which is the name of its list), bell (the Celery message), bells (that may be
--   outstanding).
-- Keys: the Celery queue's list.
-- Returns {1}; {0} when there were enough.

if bell_wanted(arg.queue) == 0 then return {0} end
redis.call('LPUSH', arg.queue, arg.bell)
return {1}

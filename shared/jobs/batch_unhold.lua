#!lua flags=allow-oom
-- Let go of some of the inputs that are kept for a batch whose items are all jobs, or never will be. Those of one that
-- others are yet to read wait for them.
--
-- Arguments: limit (inputs in one call), grace (ms).
-- Keys: batch_unheld, batch_inputs:<uid>, batch:<uid>, refs, unused.
-- Returns {1} when there was something to let go, {0} when there was not.

local LATER = 60000 -- until they are looked at again

local time = now()
local due = redis.call('ZRANGEBYSCORE', K.batch_unheld, '-inf', time, 'LIMIT', 0, 1)
if #due == 0 then return {0} end
if #readers_of(due[1]) > 0 then
  redis.call('ZADD', K.batch_unheld, time + LATER, due[1])
  return {1}
end
for _, sha256 in ipairs(redis.call('SPOP', K.batch_inputs .. due[1], arg.limit)) do unrefer(sha256, time) end
if redis.call('EXISTS', K.batch_inputs .. due[1]) == 0 then redis.call('ZREM', K.batch_unheld, due[1]) end
return {1}

#!lua
-- Keep an input safe from deletion for the grace time, while it is stored and until a job or upload names it.
--
-- Arguments: sha256, grace (ms).
-- Keys: sweeping, refs, unused.
-- Returns {1}; {0} when the input is being deleted at this moment.

if redis.call('ZSCORE', K.sweeping, arg.sha256) then return {0} end
if redis.call('HEXISTS', K.refs, arg.sha256) == 0 then
  redis.call('ZADD', K.unused, now() + arg.grace, arg.sha256)
end
return {1}

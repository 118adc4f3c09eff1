#!lua
-- Keep inputs for the items of a batch that are no jobs yet: until they are, or for the grace time where the batch
-- is never accepted. For one that needs none any more, as whoever held it until just now may not know, they are let
-- go again.
--
-- Arguments: uid, inputs (sha256 of each, at most 500), grace (ms).
-- Keys: batch_inputs:<uid>, batch_unheld, batch:<uid>, refs, unused.
-- Returns {1}.

for _, sha256 in ipairs(arg.inputs) do
  if redis.call('SADD', K.batch_inputs .. arg.uid, sha256) == 1 then refer(sha256) end
end
local batch = load_batch(arg.uid)
if not batch then
  redis.call('ZADD', K.batch_unheld, now() + arg.grace, arg.uid)
elseif batch.completed_at or (batch.status == 'processing' and batch.loaded == batch.total) then
  redis.call('ZADD', K.batch_unheld, 'NX', now(), arg.uid)
end
return {1}

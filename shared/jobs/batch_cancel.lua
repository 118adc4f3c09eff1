#!lua flags=allow-oom
-- A caller wants a batch to stop. Chores cancel its jobs, some at a time; lines that are no jobs yet never become any.
--
-- Arguments: owner, id, retention (ms), batch_schema.
-- Keys: batch:<uid>, batch_work, batch_ended, batch_unheld.
-- Returns {outcome, record}: outcome is `ok` or `conflict` (it has ended otherwise); empty when there is none.

local batch = find_batch(arg.owner, arg.id)
if not batch then return {} end
local outcome = 'ok'
if batch.completed_at or tonumber(batch.schema) > arg.batch_schema then
  if batch.status ~= 'canceled' then outcome = 'conflict' end
elseif batch.status == 'validating' then
  end_batch(batch, now(), 'canceled', {cancel_requested = 1, unchecked = 1})
elseif batch.cancel_requested ~= '1' then
  local time = now()
  save_batch(batch, {cancel_requested = 1})
  redis.call('ZADD', K.batch_work, time, batch.uid)
  settle_batch(batch, time)
end
return {outcome, redis.call('HGETALL', K.batch .. batch.uid)}

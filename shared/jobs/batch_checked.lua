#!lua flags=allow-oom
-- Some lines of a batch were checked, what is sound of them is stored: move the cursor of the check. With the last
-- line the batch goes on to be loaded, or has failed.
--
-- Arguments: uid, holder, from (lines that were checked before), to, total (lines in all), faults (how many those
--   lines have), errors (some of them: tables of line, pointer and detail), max_errors, lease, retention (ms).
-- Keys: batch:<uid>, batch_work, batch_ended, batch_unheld.
-- Returns {1}; empty when the claim is lost or the batch was canceled.

local batch = held_batch()
if not batch or batch.status ~= 'validating' then return {} end
if tonumber(batch.checked or 0) ~= arg.from then return {} end

local time = now()
local changes = {misses = false, missed_at = false, checked = arg.to, total = arg.total, faults = (batch.faults or 0) + arg.faults}
if #arg.errors > 0 then
  local errors = cjson.decode(batch.errors or '[]')
  for _, error in ipairs(arg.errors) do
    if #errors < arg.max_errors then errors[#errors + 1] = error end
  end
  changes.errors = cjson.encode(errors)
end
if arg.to < arg.total then
  save_batch(batch, changes)
  redis.call('ZADD', K.batch_work, time + arg.lease, batch.uid)
elseif changes.faults > 0 then
  end_batch(batch, time, 'failed', changes)
else
  changes.status = 'processing'
  save_batch(batch, changes)
  settle_batch(batch, time)
end
return {1}

#!lua
-- Make jobs of the next lines of a batch and move its cursor behind them, all or nothing.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: uid, holder, from (lines that are jobs already), jobs (at most 100; each a table of record, stage and
--   deadline in ms after the batch's acceptance), lease, retention (ms), schema, bells, quarantined (JSON).
-- Keys: batch:<uid>, batch_items:<uid>:queued, batch_work, batch_ended, batch_unheld; those of `submit`; those of
--   ending a job.
-- Returns {lines that are jobs now, ring of intake, ring of paint}; empty when the claim is lost, or the batch was
--   canceled or has lost its lines.

local batch = held_batch()
if not batch or batch.status ~= 'processing' or batch.cancel_requested == '1' or batch.error then return {} end
if tonumber(batch.loaded) ~= arg.from then return {} end

local time = now()
local entries = {}
for i, given in ipairs(arg.jobs) do
  local job = given.record
  job.owner = batch.owner
  job.batch_id = batch.uid
  job.batch_index = arg.from + i - 1
  accept_job(job, given.stage, batch.created_at + given.deadline, time)
  entries[#entries + 1] = job.batch_index
  entries[#entries + 1] = job.uid
end
local loaded = arg.from + #arg.jobs
redis.call('ZADD', items_of(batch.uid, 'queued'), unpack(entries))
redis.call('HINCRBY', K.batch .. batch.uid, 'n:queued', #arg.jobs)
redis.call('HSET', K.batch .. batch.uid, 'loaded', loaded)
if batch.misses then redis.call('HDEL', K.batch .. batch.uid, 'misses', 'missed_at') end
redis.call('HINCRBY', K.batch .. batch.uid, 'version', 1)
if loaded == tonumber(batch.total) then
  redis.call('HDEL', K.batch .. batch.uid, 'holder')
  redis.call('ZREM', K.batch_work, batch.uid)
  redis.call('ZADD', K.batch_unheld, time, batch.uid)
else
  redis.call('ZADD', K.batch_work, time + arg.lease, batch.uid)
end
-- One that succeeds at once, as another has, is counted from one status to the other.
for _, given in ipairs(arg.jobs) do
  local job = given.record
  if quarantined(job.recipe) then
    end_job(job, time, 'failed', {error = quarantine_error(quarantined(job.recipe))})
  else
    join(job, time)
  end
end
return {loaded, bell_wanted('intake'), bell_wanted('paint')}

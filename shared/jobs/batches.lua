-- What several scripts need of batches. A batch is handled as a table of its record's fields, all strings.
-- Its record counts its jobs by status (`n:<status>`) and those that were purged before it (`gone:<status>`).

-- Ended items are counted in slots of 15 s, for the five minutes past: the batch's throughput. Those that share
-- another's picture are not; while they wait for it they are counted in `following`.
local SLOT, SLOTS = 15000, 20

local function load_batch(uid)
  local flat = redis.call('HGETALL', K.batch .. uid)
  if #flat == 0 then return nil end
  local batch = {}
  for i = 1, #flat, 2 do batch[flat[i]] = flat[i + 1] end
  return batch
end

-- The batch that an owner calls by this ID; nil when there is none.
local function find_batch(owner, id)
  local batch = load_batch(id)
  if batch and batch.owner == owner and batch.deleted ~= '1' then return batch end
  return nil
end

-- The batch that `arg.uid` names, when `arg.holder` has the claim to it.
local function held_batch()
  local batch = load_batch(arg.uid)
  if batch and batch.holder == arg.holder then return batch end
  return nil
end

-- Write fields (false removes one) that a poll can see: the record's version goes up.
local function save_batch(batch, changes)
  changes.version = batch.version + 1
  if changes.status then recount('batches', batch.status, changes.status) end
  for name, value in pairs(changes) do
    if value == false then
      redis.call('HDEL', K.batch .. batch.uid, name)
      batch[name] = nil
    else
      redis.call('HSET', K.batch .. batch.uid, name, value)
      batch[name] = tostring(value)
    end
  end
  tell_batch_change(batch.uid, batch.version, batch.status)
end

-- Give a batch its final state. Needs arg.retention.
local function end_batch(batch, time, status, changes)
  changes.status = status
  changes.completed_at = time
  changes.expires_at = time + arg.retention
  changes.holder = false
  save_batch(batch, changes)
  tally('batch:' .. status)
  tell_batch_receiver(batch, 'batch.' .. status, time)
  redis.call('ZREM', K.batch_work, batch.uid)
  redis.call('ZADD', K.batch_ended, batch.expires_at, batch.uid)
  -- Items that never became jobs can be tried again, as long as the batch is kept.
  local retriable = status == 'canceled' and batch.unchecked ~= '1' and batch.loaded ~= batch.total
  redis.call('ZADD', K.batch_unheld, retriable and batch.expires_at or time, batch.uid)
end

-- The batches that are to try this one again and have not read it yet: until none is left it is kept as it is.
local function readers_of(uid)
  local reading = {}
  for _, reader in ipairs(cjson.decode(redis.call('HGET', K.batch .. uid, 'readers') or '[]')) do
    if redis.call('HGET', K.batch .. reader, 'status') == 'validating' then reading[#reading + 1] = reader end
  end
  return reading
end

-- A batch that is to try this ended job again and has not read it yet; nil when there is none.
local function reader_of(job)
  if not job.batch_id or job.status == 'succeeded' then return nil end
  return readers_of(job.batch_id)[1]
end

-- From now on nobody finds the batch.
local function hide_batch(batch)
  redis.call('HSET', K.batch .. batch.uid, 'deleted', 1)
  redis.call('ZREM', K.batches .. batch.owner, batch.uid)
end

-- End a batch of which every item has ended, or will never be a job. Needs arg.retention.
local function settle_batch(batch, time)
  if batch.status ~= 'processing' then return end
  if tonumber(batch['n:queued'] or 0) + tonumber(batch['n:processing'] or 0) > 0 then return end
  if batch.cancel_requested == '1' then
    end_batch(batch, time, 'canceled', {})
  elseif batch.error then
    end_batch(batch, time, 'failed', {})
  elseif batch.loaded == batch.total then
    end_batch(batch, time, 'completed', {})
  end
end

local function items_of(uid, status)
  return K.batch_items .. uid .. ':' .. status
end

local function terminal(status)
  return status ~= 'queued' and status ~= 'processing'
end

-- Count an ended item in its slot; a new one takes the place of those that are past.
local function count_in_slot(uid, time)
  local slot = math.floor(time / SLOT)
  if redis.call('HINCRBY', K.batch .. uid, 'w:' .. slot, 1) > 1 then return end
  for _, name in ipairs(redis.call('HKEYS', K.batch .. uid)) do
    local past = tonumber(name:match('^w:(%d+)$'))
    if past and past <= slot - SLOTS then redis.call('HDEL', K.batch .. uid, name) end
  end
end

-- A job goes from one status to another.
function count_in_batch(job, from, to)
  local uid = job.batch_id
  if not uid or redis.call('EXISTS', K.batch .. uid) == 0 then return end
  local time = now()
  redis.call('ZREM', items_of(uid, from), job.uid)
  redis.call('ZADD', items_of(uid, to), job.batch_index, job.uid)
  redis.call('HINCRBY', K.batch .. uid, 'n:' .. from, -1)
  redis.call('HINCRBY', K.batch .. uid, 'n:' .. to, 1)
  redis.call('HINCRBY', K.batch .. uid, 'version', 1)
  -- What shares another's picture takes no work: it says nothing of how fast the batch goes on.
  local worked_on = not job.following and not job.reused_from
  if worked_on then redis.call('HSETNX', K.batch .. uid, 'started_at', time) end
  if worked_on and terminal(to) then count_in_slot(uid, time) end
end

-- A job has ended, and its change is told: its batch has with the last of its items. Needs arg.retention.
function end_in_batch(job, time)
  local key = job.batch_id and K.batch .. job.batch_id
  if not key or redis.call('EXISTS', key) == 0 then return end
  -- Reading the whole record is left to the last of those that are there.
  local open = redis.call('HMGET', key, 'n:queued', 'n:processing')
  if tonumber(open[1] or 0) + tonumber(open[2] or 0) == 0 then settle_batch(load_batch(job.batch_id), time) end
end

-- So many of a batch's jobs more follow another.
function count_following(job, by)
  local key = job.batch_id and K.batch .. job.batch_id
  if key and redis.call('EXISTS', key) == 1 then redis.call('HINCRBY', key, 'following', by) end
end

-- A job is purged, be it with its batch or before it.
function forget_in_batch(job)
  local uid = job.batch_id
  if not uid or redis.call('ZREM', items_of(uid, job.status), job.uid) == 0 then return end
  if redis.call('EXISTS', K.batch .. uid) == 1 then
    redis.call('HINCRBY', K.batch .. uid, 'gone:' .. job.status, 1)
    redis.call('HINCRBY', K.batch .. uid, 'version', 1)
  end
end

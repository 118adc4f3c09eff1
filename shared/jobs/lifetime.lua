-- How a job comes into the store, and how it is forgotten.

-- Write the record of a new job, which is to `join` those that wait next. `job` has the fields that Python gives.
local function accept_job(job, stage, deadline_at, time)
  job.status = 'queued'
  job.stage = stage
  job.created_at = time
  job.deadline_at = deadline_at
  job.order = redis.call('INCR', K.order)
  job.version = 1
  local flat = {}
  for name, value in pairs(job) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', K.job .. job.uid, unpack(flat))
  if job.id ~= job.uid then redis.call('HSET', K.ids .. job.owner, job.id, job.uid) end
  redis.call('ZADD', K.list .. 'queued:' .. job.owner, job.order, job.uid)
  redis.call('HINCRBY', K.counts, 'queued', 1)
  redis.call('ZADD', K.deadlines, job.deadline_at, job.uid)
  for _, sha256 in ipairs(inputs_of(job)) do refer(sha256) end
end

local wait_for_paint, give_up_output -- in sharing.lua

-- A job that was accepted begins to wait. Returns whether it does: it may have succeeded, or another does its work.
local function join(job, time)
  if job.stage == 'waiting' then return wait_for_paint(job, time) end
  wait(job, time)
  return true
end

local forget_in_batch -- in batches.lua

-- Remove an ended job: its record, its ID, its Idempotency-Key, its references to inputs, its deliveries, its share
-- in its output. Returns the record as it was, but for an output that other jobs need. Needs arg.grace.
local function purge_job(job, time)
  local needed, record = give_up_output(job), {}
  for name, value in pairs(job) do
    if name ~= 'output' or not needed then
      record[#record + 1] = name
      record[#record + 1] = value
    end
  end
  for _, sha256 in ipairs(inputs_of(job)) do unrefer(sha256, time) end
  forget_deliveries('job', job)
  redis.call('DEL', K.job .. job.uid)
  redis.call('HDEL', K.ids .. job.owner, job.id)
  redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, job.uid)
  redis.call('HINCRBY', K.counts, job.status, -1)
  redis.call('ZREM', K.ended, job.uid)
  redis.call('ZREM', K.output_ends, job.uid)
  local remembered = job.idempotency_key and K.idempotency .. job.idempotency_key .. ':' .. job.owner
  if remembered and redis.call('GET', remembered) == job.uid then redis.call('DEL', remembered) end
  forget_in_batch(job)
  return record
end

-- How a job ends.

local hand_over -- in sharing.lua

-- What nobody asks of a job that has ended.
local GONE_AT_THE_END = {
  'lane', 'bucket', 'fences', 'together', 'waiting_since', 'waited', 'request_id', 'following', 'lift',
}

-- Give a job its final state, and those that follow it what this means for them. What it asked for shortens what
-- the settings give it and its output. Needs arg.retention, where it has an output arg.output_retention (ms), where
-- it did not succeed arg.schema and arg.quarantined.
local function end_job(job, time, status, changes)
  local turn, lane = stop_waiting(job), lane_of(job)
  redis.call('ZREM', K.delayed, job.uid)
  redis.call('ZREM', K.leases, job.uid)
  redis.call('ZREM', K.deadlines, job.uid)
  local expires = time + math.min(job.retention or arg.retention, arg.retention)
  redis.call('ZADD', K.ended, expires, job.uid)
  move_status(job, status)
  tally('ended:' .. status)
  if status == 'failed' then tally('failed:' .. cjson.decode(changes.error).code) end
  local recipe = shares(job) and not job.following and job.recipe
  changes.status = status
  changes.stage = false
  changes.fence = false
  changes.completed_at = time
  changes.expires_at = expires
  if changes.output and time + arg.output_retention < expires then
    changes.output_expires_at = time + arg.output_retention
    redis.call('ZADD', K.output_ends, changes.output_expires_at, job.uid)
  end
  -- By its recipe a job that has been painted is found by others like it.
  if status ~= 'succeeded' or not shares(job) then changes.recipe = false end
  for _, name in ipairs(GONE_AT_THE_END) do changes[name] = false end
  save(job, changes)
  tell_receiver(job, 'job.' .. status, time)
  end_in_batch(job, time)
  if recipe then
    hand_over(job, recipe, time)
    -- One that leads in its place has its place: the owner had something waiting all along.
    if turn then redis.call('ZADD', K.turns .. lane, 'XX', turn, job.owner) end
  end
end

-- End a job whose deadline passed: it has expired if no painter ever began it. Needs what `end_if_due` needs.
local function end_overdue(job, time)
  end_job(job, time, job.started_at and 'canceled' or 'expired', {error = arg.overdue})
end

-- End a job whose caller asked for it, or whose deadline passed; true when it was one.
-- Needs arg.retention and arg.overdue (the error of a passed deadline).
local function end_if_due(job, time)
  if job.cancel_requested == '1' then
    end_job(job, time, 'canceled', {})
  elseif time >= tonumber(job.deadline_at) then
    end_overdue(job, time)
  else
    return false
  end
  return true
end

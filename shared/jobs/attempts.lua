-- An attempt at a job: begun, taken back, failed.

-- Whether a waiting job may be given out: one past its deadline is left to `expire`, one of a later schema to
-- later workers. Needs arg.schema.
local function claimable(job, time)
  return not later_schema(job) and time < tonumber(job.deadline_at)
end

-- Start an attempt at a waiting job, and send its owner to the end of the line in each of the lanes.
-- Needs arg.token (random), arg.worker and arg.lease (ms). `together` is 1 for one of a batch.
-- Returns {fence, record}.
local function start_attempt(job, lanes, time, together)
  local queue = queue_of(job)
  stop_waiting(job)
  local turn = redis.call('INCR', K.turn)
  for i = 1, math.min(#lanes, MAX_LANES) do
    redis.call('ZADD', K.turns .. lanes[i], 'XX', turn, job.owner)
  end
  local fences = redis.call('HINCRBY', K.job .. job.uid, 'fences', 1)
  local changes = {
    fence = fences .. '-' .. arg.token,
    attempt = (job.attempt or 0) + 1,
    worker = arg.worker,
    together = together,
    waited = (job.waited or 0) + time - job.waiting_since,
  }
  if queue == 'paint' then
    move_status(job, 'processing')
    changes.status = 'processing'
    changes.stage = 'painting'
    changes.started_at = job.started_at or time
  end
  local begins = changes.started_at and not job.started_at
  save(job, changes)
  if begins then tell_receiver(job, 'job.processing', time) end
  redis.call('ZADD', K.leases, time + arg.lease, job.uid)
  return {job.fence, redis.call('HGETALL', K.job .. job.uid)}
end

-- Take the lease from a job and let it wait again, at its old place, after `delay` milliseconds.
local function wait_again(job, time, delay)
  redis.call('ZREM', K.leases, job.uid)
  move_status(job, 'queued')
  local stage = job.stage == 'fetching' and 'fetching' or 'waiting'
  save(job, {status = 'queued', stage = stage, fence = false, worker = false, progress = false, together = false})
  if delay > 0 then
    redis.call('ZADD', K.delayed, time + delay, job.uid)
  else
    wait(job, time)
  end
end

-- Whether an attempt of this error ended its worker, or was ended with it.
local function with_its_worker(error)
  return error.code == 'worker_lost' or error.code == 'device_failed'
end

local function times_uncharged(errors)
  local times = 0
  for _, error in ipairs(errors) do
    if error.uncharged then times = times + 1 end
  end
  return times
end

-- Whether each of the last attempts that were charged, so many, was lost with its worker. A device that failed may
-- be a broken one, which fails whatever it is given: that is no job's fault.
local function lost_its_workers(errors, attempts)
  for i = #errors, 1, -1 do
    if attempts > 0 and not errors[i].uncharged then
      if errors[i].code ~= 'worker_lost' then return false end
      attempts = attempts - 1
    end
  end
  return attempts == 0
end

-- The error of a job that has no attempt left: what the last one met, or that the job may be what ends its
-- workers. That one goes into quarantine.
local function no_attempt_left(job, errors)
  if lost_its_workers(errors, tonumber(job.attempt)) then
    if job.recipe and arg.quarantine > 0 then
      redis.call('SET', K.quarantine .. job.recipe, now(), 'PX', arg.quarantine)
    end
    return arg.deadly
  end
  local error, last = cjson.decode(arg.exhausted), errors[#errors]
  error.detail = error.detail .. last.code .. ': ' .. last.detail
  error.pointer = last.pointer
  return cjson.encode(error)
end

-- An attempt ended in an infrastructure fault: keep its error; try again while attempts are left. One that was
-- lost with its worker in company is not charged: any of the batch may have ended the worker, or none. From then
-- on the job is painted alone (companions.lua), so that happens once. Nor is one that is `excused`, unless that
-- has happened as often as there are attempts: a job is not tried for ever, whatever ends its workers.
-- Needs what `end_if_due` needs, arg.max_attempts, arg.exhausted and arg.deadly (errors for when none is left)
-- and arg.quarantine (ms).
local function attempt_failed(job, time, error, delay, excused)
  local errors = cjson.decode(job.attempt_errors or '[]')
  local failed = cjson.decode(error)
  local uncharged = (job.together == '1' and with_its_worker(failed))
    or (excused and times_uncharged(errors) < arg.max_attempts)
  -- Workers that know earlier schemas only could not read more than was there then.
  if tonumber(job.schema) >= 3 then
    failed.stage, failed.attempt, failed.worker, failed.at = job.stage, tonumber(job.attempt), job.worker, time
    failed.uncharged = uncharged or nil
  end
  errors[#errors + 1] = failed
  tally('attempt:' .. failed.code)
  redis.call('HSET', K.job .. job.uid, 'attempt_errors', cjson.encode(errors))
  if uncharged then
    job.attempt = redis.call('HINCRBY', K.job .. job.uid, 'attempt', -1)
  end
  if end_if_due(job, time) then return end
  if tonumber(job.attempt) >= arg.max_attempts then
    end_job(job, time, 'failed', {error = no_attempt_left(job, errors)})
  else
    wait_again(job, time, delay)
  end
end

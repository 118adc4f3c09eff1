-- What scripts need that change jobs. A job is handled as a table of its record's fields, all strings.

-- The job that `arg.uid` names, when `arg.fence` is its current fence; nil, and counted, when the lease is lost.
local function leased_job()
  local job = load_job(arg.uid)
  if job and job.fence == arg.fence then return job end
  tally('stale')
  return nil
end

-- Write fields (false removes one) that a poll can see: the record's version goes up.
local function save(job, changes)
  changes.version = job.version + 1
  local written, removed = {}, {}
  for name, value in pairs(changes) do
    if value then
      written[#written + 1] = name
      written[#written + 1] = value
      job[name] = tostring(value)
    else
      removed[#removed + 1] = name
      job[name] = nil
    end
  end
  redis.call('HSET', K.job .. job.uid, unpack(written))
  if #removed > 0 then redis.call('HDEL', K.job .. job.uid, unpack(removed)) end
  tell_change(job)
end

local count_in_batch, count_following -- in batches.lua

local function move_status(job, status)
  if job.status == status then return end
  count_in_batch(job, job.status, status)
  redis.call('HINCRBY', K.counts, job.status, -1)
  redis.call('HINCRBY', K.counts, status, 1)
  redis.call('ZREM', K.list .. job.status .. ':' .. job.owner, job.uid)
  redis.call('ZADD', K.list .. status .. ':' .. job.owner, job.order, job.uid)
end

-- Jobs of a sorted set whose time has come, at most `arg.limit`. Those of a later schema are passed over, entries
-- without a record removed, and of jobs that have ended where what has not is looked for: none keeps others from
-- their turn.
local function jobs_due(key, time)
  local found = {}
  for _, uid in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', time, 'LIMIT', 0, 5 * arg.limit)) do
    if #found == arg.limit then break end
    local read = redis.call('HMGET', K.job .. uid, 'schema', 'completed_at')
    local schema = read[1]
    local may_have_ended = key == K.ended or key == K.output_ends
    if not schema or (read[2] and not may_have_ended and not later_schema({schema = schema})) then
      redis.call('ZREM', key, uid)
    elseif not later_schema({schema = schema}) then
      found[#found + 1] = load_job(uid)
    end
  end
  return found
end

-- Waiting.

-- An owner who has nothing waiting yet joins at the end of the line: behind each other owner once.
local function wait(job, time)
  local lane = lane_of(job)
  redis.call('ZADD', K.wait .. lane .. ':' .. job.owner, rank_of(job), job.uid)
  redis.call('HINCRBY', K.waiting, lane, 1)
  redis.call('HSET', K.job .. job.uid, 'waiting_since', time)
  if not redis.call('ZSCORE', K.turns .. lane, job.owner) then
    redis.call('ZADD', K.turns .. lane, redis.call('INCR', K.turn), job.owner)
  end
end

-- Returns the turn that its owner gives up who has nothing else waiting; nil where the owner has.
local function leave_waiting(job)
  local lane = lane_of(job)
  local set = K.wait .. lane .. ':' .. job.owner
  if redis.call('ZREM', set, job.uid) == 0 then return end
  redis.call('HINCRBY', K.waiting, lane, -1)
  if redis.call('EXISTS', set) == 1 then return end
  local turn = redis.call('ZSCORE', K.turns .. lane, job.owner)
  redis.call('ZREM', K.turns .. lane, job.owner)
  return turn
end

local function stop_following(job)
  if redis.call('ZREM', following_of(job), job.uid) == 1 then count_following(job, -1) end
end

local function stop_waiting(job)
  if not job.following then return leave_waiting(job) end
  stop_following(job)
end

-- Claiming.

-- Whether a waiting job may be given out: one past its deadline is left to `expire`, one of a later schema to
-- later workers. Needs arg.schema.
local function claimable(job, time)
  return not later_schema(job) and time < tonumber(job.deadline_at)
end

-- A recipe names what is made of what: jobs of one recipe would do the same work. The minutes for which one is
-- still in quarantine, rounded up; nil when it is in none.
local function quarantined(recipe)
  local left = recipe and redis.call('PTTL', K.quarantine .. recipe) or 0
  return left > 0 and math.ceil(left / 60000) or nil
end

-- The error of a job in quarantine. Needs arg.quarantined (JSON, with a place for the minutes).
local function quarantine_error(minutes)
  local error = cjson.decode(arg.quarantined)
  error.detail = string.format(error.detail, minutes)
  return cjson.encode(error)
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

-- Whether another bell is wanted: few are outstanding in the Celery queue (a list of the queue's name).
local function bell_wanted(queue)
  return redis.call('LLEN', queue) < arg.bells and 1 or 0
end

-- Ending.

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

-- References to inputs.

-- Every change of a count leaves a trace that is never taken back, so that the audit can tell that an input was
-- named and let go meanwhile. Inputs share 4096 such traces, which is all the room that they ever take.
local function trace_of(sha256)
  return sha256:sub(1, 3)
end

local function refer(sha256)
  redis.call('HINCRBY', K.refs_moved, trace_of(sha256), 1)
  redis.call('HINCRBY', K.refs, sha256, 1)
  redis.call('ZREM', K.unused, sha256)
end

-- Needs arg.grace: an input stays that long after its last reference went.
local function unrefer(sha256, time)
  redis.call('HINCRBY', K.refs_moved, trace_of(sha256), 1)
  if redis.call('HINCRBY', K.refs, sha256, -1) <= 0 then
    redis.call('HDEL', K.refs, sha256)
    redis.call('ZADD', K.unused, time + arg.grace, sha256)
  end
end

-- The inputs that a record's pictures are kept as, once for each time it names them. Needs a table with the
-- record's JSON of `content`, `styles` and, where there is one, `init`.
local function inputs_of(named)
  local found = {}
  local function add(picture)
    if not picture then return end
    if picture.sha256 then found[#found + 1] = picture.sha256 end
    add(picture.mask)
    add(picture.region)
  end
  add(cjson.decode(named.content))
  for _, style in ipairs(cjson.decode(named.styles)) do add(style) end
  if named.init then add(cjson.decode(named.init)) end
  return found
end

-- The pictures of a job once the copies that were given are counted in place of those in its record.
-- Needs arg.content, arg.styles and, where the job has one, arg.init (JSON each); arg.grace.
local function pinned(job, time)
  local named = {content = arg.content, styles = arg.styles, init = arg.init or job.init}
  for _, sha256 in ipairs(inputs_of(named)) do refer(sha256) end
  for _, sha256 in ipairs(inputs_of(job)) do unrefer(sha256, time) end
  return named
end

-- Beginning and forgetting.

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

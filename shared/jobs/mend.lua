#!lua flags=allow-oom
-- Put right what the audit found, as far as it is still so. Records are what counts: indexes and counters follow.
--
-- Arguments: kind, statuses (each that there is), batch_schema, grace, retention, upload_retention (ms), schema; and by
--   kind
--   job: uid. Its entries become what its record says. One that nobody holds waits again; where it is being
--     painted, its lease has run out: the reaper sees to it.
--   entry: key, uid. A sorted set loses a job without a record, or one that its record places elsewhere.
--   id: owner, id, uid. An ID that names no job, or one that is called otherwise, goes.
--   turn: lane, owner. Who has something waiting has a turn; who has not has none.
--   counter: key, field, by. What was counted wrong is added.
--   refs: sha256, namers (each a record's key, or an owner's uploads and the ID of one), trace (its trace when
--     these were what named it). It is counted again, with what follows for its deletion. While nothing was
--     named or let go since, they are still all; otherwise there may be others, and a count is only ever raised.
--   unused: sha256. Who is named is not deleted; who is not is, after the grace time.
--   recipe: owner, recipe, uid. A recipe that names no job, or one that does not make it, names none.
--   group: owner, recipe. Followers without a leader are attended to.
--   sharer: key, uid. Who names an output shares it; who does not does not.
--   batch: uid. It counts the jobs that it has, and goes on where there is work left, or ends.
--   batch_entry: key, uid. A list of batches, or a batch's set of jobs, loses what is none, or is elsewhere.
--   archive: uid, key (where the object of that key is lost). What is wanted is built, what is ready goes in its time;
--     one that is lost is forgotten, and built anew for whoever asks next.
--   upload: owner, upload_id. One without an end is given the retention time; an end without one goes.
--   delivery: id. It stands where its state says; one that tells of nothing that is there goes.
--   delivery_entry: key, id. A list or line loses what is no delivery.
--   delivery_line: line. It has its turn when its first delivery is due.
-- Keys: any that the kind needs.
-- Returns {1} when something was done, {0} when not.

local time = now()

-- A record that lacks what its place follows from is left to people, with all that names it.
local function ours(job)
  for _, name in ipairs({'schema', 'id', 'owner', 'status', 'priority', 'order', 'deadline_at'}) do
    if not job[name] then return false end
  end
  return not later_schema(job) and ((job.completed_at and job.expires_at) or (job.stage and job.lane))
end

local function reindex(job)
  if not ours(job) then return 0 end
  local uid = job.uid
  for _, status in ipairs(arg.statuses) do
    if status ~= job.status then redis.call('ZREM', K.list .. status .. ':' .. job.owner, uid) end
  end
  redis.call('ZADD', K.list .. job.status .. ':' .. job.owner, job.order, uid)
  if job.id ~= uid then redis.call('HSET', K.ids .. job.owner, job.id, uid) end

  if job.batch_id and redis.call('EXISTS', K.batch .. job.batch_id) == 1 then
    for _, status in ipairs(arg.statuses) do
      if status ~= job.status then redis.call('ZREM', items_of(job.batch_id, status), uid) end
    end
    redis.call('ZADD', items_of(job.batch_id, job.status), job.batch_index, uid)
  end
  if job.recipe and not job.following then redis.call('ZREM', following_of(job), uid) end
  if job.completed_at then
    for _, key in ipairs({K.leases, K.delayed, K.deadlines}) do redis.call('ZREM', key, uid) end
    redis.call('ZADD', K.ended, job.expires_at, uid)
    return 1
  end
  redis.call('ZREM', K.ended, uid)
  redis.call('ZADD', K.deadlines, job.deadline_at, uid)
  local held = job.status == 'processing' or (job.stage == 'fetching' and job.fence)
  if held then
    stop_waiting(job)
    redis.call('ZREM', K.delayed, uid)
    if job.fence then
      redis.call('ZADD', K.leases, 'NX', time, uid)
    else
      redis.call('ZADD', K.leases, time, uid)
    end
    return 1
  end
  redis.call('ZREM', K.leases, uid)
  if job.fence then save(job, {fence = false}) end
  if job.following then
    leave_waiting(job)
    redis.call('ZREM', K.delayed, uid)
    redis.call('ZADD', following_of(job), rank_of(job), uid)
    return 1
  end
  local waits = redis.call('ZSCORE', K.wait .. lane_of(job) .. ':' .. job.owner, uid)
  if waits then
    redis.call('ZREM', K.delayed, uid)
  elseif not redis.call('ZSCORE', K.delayed, uid) then
    wait(job, time)
  end
  return 1
end

local function settle_unused(sha256)
  if redis.call('HEXISTS', K.refs, sha256) == 1 then
    return redis.call('ZREM', K.unused, sha256) + redis.call('ZREM', K.sweeping, sha256)
  end
  if redis.call('ZSCORE', K.sweeping, sha256) then return 0 end
  return redis.call('ZADD', K.unused, 'NX', time + arg.grace, sha256)
end

local mend = {}

function mend.job()
  local job = load_job(arg.uid)
  return job and reindex(job) or 0
end

function mend.entry()
  local job = load_job(arg.uid)
  if job and not ours(job) then return 0 end
  local gone = redis.call('ZREM', arg.key, arg.uid)
  if job then reindex(job) end
  return gone
end

function mend.id()
  local job = load_job(arg.uid)
  if job and (not ours(job) or (job.owner == arg.owner and job.id == arg.id)) then return 0 end
  if redis.call('HGET', K.ids .. arg.owner, arg.id) ~= arg.uid then return 0 end
  return redis.call('HDEL', K.ids .. arg.owner, arg.id)
end

function mend.turn()
  local key = K.turns .. arg.lane
  if redis.call('EXISTS', K.wait .. arg.lane .. ':' .. arg.owner) == 0 then
    return redis.call('ZREM', key, arg.owner)
  end
  return redis.call('ZADD', key, 'NX', redis.call('INCR', K.turn), arg.owner)
end

function mend.counter()
  redis.call('HINCRBY', arg.key, arg.field, arg.by)
  return 1
end

-- How often a record or an upload names an input.
local function names(namer, sha256)
  local found = {}
  if string.sub(namer[1], 1, #K.batch_inputs) == K.batch_inputs then
    return redis.call('SISMEMBER', namer[1], sha256)
  end
  if namer[2] then
    local picture = redis.call('HGET', namer[1], namer[2])
    if picture then found = inputs_of({content = picture, styles = '[]'}) end
  else
    local read = redis.call('HMGET', namer[1], 'content', 'styles', 'init')
    if read[1] and read[2] then found = inputs_of({content = read[1], styles = read[2], init = read[3]}) end
  end
  local named = 0
  for _, name in ipairs(found) do
    if name == sha256 then named = named + 1 end
  end
  return named
end

function mend.refs()
  local kept = tonumber(redis.call('HGET', K.refs, arg.sha256) or 0)
  local named = 0
  for _, namer in ipairs(arg.namers) do named = named + names(namer, arg.sha256) end
  local still = (redis.call('HGET', K.refs_moved, trace_of(arg.sha256)) or '0') == arg.trace
  if named == kept or (named < kept and not still) then return 0 end
  if named > 0 then
    redis.call('HSET', K.refs, arg.sha256, named)
  else
    redis.call('HDEL', K.refs, arg.sha256)
  end
  settle_unused(arg.sha256)
  return 1
end

function mend.unused()
  return settle_unused(arg.sha256)
end

function mend.recipe()
  local job = load_job(arg.uid)
  if job and (later_schema(job) or (job.owner == arg.owner and job.recipe == arg.recipe and not job.following)) then
    return 0
  end
  if redis.call('HGET', K.recipes .. arg.owner, arg.recipe) ~= arg.uid then return 0 end
  return redis.call('HDEL', K.recipes .. arg.owner, arg.recipe)
end

function mend.group()
  if redis.call('EXISTS', K.following .. arg.recipe .. ':' .. arg.owner) == 0 then return 0 end
  return redis.call('ZADD', K.settling, time, arg.recipe .. ':' .. arg.owner)
end

function mend.sharer()
  local job = load_job(arg.uid)
  if job and later_schema(job) then return 0 end
  local output = job and job.output and cjson.decode(job.output)
  if output and output.key == arg.key then
    return redis.call('ZADD', K.sharers .. arg.key, job.output_expires_at or job.expires_at, job.uid)
  end
  return redis.call('ZREM', K.sharers .. arg.key, arg.uid)
end

function mend.upload()
  local name = arg.upload_id .. ':' .. arg.owner
  if redis.call('HEXISTS', K.uploads .. arg.owner, arg.upload_id) == 0 then
    return redis.call('ZREM', K.upload_ends, name)
  end
  return redis.call('ZADD', K.upload_ends, 'NX', time + arg.upload_retention, name)
end

function mend.delivery()
  local delivery = load_delivery(arg.id)
  if not delivery then return 0 end
  local subject = (delivery.kind == 'batch' and K.batch or K.job) .. (delivery.uid or '')
  if delivery.kind ~= 'test' and redis.call('EXISTS', subject) == 0 then
    forget_delivery(delivery)
    return 1
  end
  for _, state in ipairs(DELIVERY_STATES) do
    redis.call('ZREM', K.delivery_list .. state .. ':' .. delivery.owner, arg.id)
  end
  move_delivery(delivery, delivery.state)
  if delivery.state ~= 'waiting' then
    leave_line(delivery)
  elseif not redis.call('ZSCORE', K.delivery_line .. line_of(delivery), arg.id) then
    stand_in_line(delivery, time)
  end
  return 1
end

function mend.batch()
  local batch = load_batch(arg.uid)
  if not batch or tonumber(batch.schema) > arg.batch_schema then return 0 end
  for _, status in ipairs(arg.statuses) do
    local count = redis.call('ZCARD', items_of(arg.uid, status)) + (batch['gone:' .. status] or 0)
    if count > 0 or batch['n:' .. status] then redis.call('HSET', K.batch .. arg.uid, 'n:' .. status, count) end
  end
  if batch.deleted == '1' then
    redis.call('ZREM', K.batches .. batch.owner, arg.uid)
  else
    redis.call('ZADD', K.batches .. batch.owner, batch.order, arg.uid)
  end
  if batch.completed_at then
    redis.call('ZREM', K.batch_work, arg.uid)
    redis.call('ZADD', K.batch_ended, 'NX', batch.deleted == '1' and time or batch.expires_at, arg.uid)
    return 1
  end
  redis.call('ZREM', K.batch_ended, arg.uid)
  redis.call('ZADD', K.batch_work, 'NX', time, arg.uid)
  settle_batch(load_batch(arg.uid), time)
  return 1
end

function mend.batch_entry()
  local of_items = string.sub(arg.key, 1, #K.batch_items) == K.batch_items
  local job = of_items and load_job(arg.uid)
  if job and arg.key == items_of(job.batch_id or '', job.status) then return 0 end
  if not of_items and redis.call('EXISTS', K.batch .. arg.uid) == 1 then return 0 end
  local gone = redis.call('ZREM', arg.key, arg.uid)
  if job then reindex(job) end
  return gone
end

function mend.archive()
  local archive = load_archive(arg.uid)
  if not archive then return redis.call('ZREM', K.archive_work, arg.uid) + redis.call('ZREM', K.archive_ends, arg.uid) end
  if redis.call('EXISTS', K.batch .. arg.uid) == 0 then return redis.call('ZADD', K.archive_ends, 'NX', time, arg.uid) end
  local readable = tonumber(archive.done) and tonumber(archive.total) and archive.state
  local ready = archive.state == 'ready' and archive.key and tonumber(archive.size) and tonumber(archive.expires_at)
  -- Forgotten, it is built anew for whoever asks next; chores sweep what there is of its object.
  if not readable or (archive.state == 'ready' and (not ready or archive.key == arg.key)) then
    redis.call('DEL', K.archive .. arg.uid)
    redis.call('ZREM', K.archive_work, arg.uid)
    redis.call('ZREM', K.archive_ends, arg.uid)
    return 1
  end
  if ready then
    return redis.call('ZREM', K.archive_work, arg.uid) + redis.call('ZADD', K.archive_ends, 'NX', archive.expires_at, arg.uid)
  end
  return redis.call('ZADD', K.archive_work, 'NX', time, arg.uid)
end

function mend.delivery_entry()
  if redis.call('EXISTS', K.delivery .. arg.id) == 1 then return 0 end
  local gone = redis.call('ZREM', arg.key, arg.id)
  if string.sub(arg.key, 1, #K.delivery_line) == K.delivery_line then
    settle_line(string.sub(arg.key, #K.delivery_line + 1))
  end
  return gone
end

function mend.delivery_line()
  settle_line(arg.line)
  return 1
end

return {mend[arg.kind]()}

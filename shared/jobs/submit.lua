#!lua
-- Accept a job: write its record and let it wait for its first stage, unless another does the same work
-- (sharing.lua); or find the job that it repeats.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: record (fields that Python gives: uid, id, owner, schema, spec, content, styles, metadata,
--   body_hash, priority, lane, bucket, recipe, retry_of, init), stage (`fetching` or `waiting`), deadline (ms from now),
--   bells,
--   idempotency_key (optional), idempotency_ttl, retention (ms), schema, quarantined (JSON).
-- Keys: idempotency:<key>:<owner>, ids:<owner>, job:<uid>, order, list:queued:<owner>, counts,
--   quarantine:<recipe>, deadlines, refs, unused, wait:<lane>:<owner>, turns:<lane>, turn, waiting;
--   those of sharing.lua; the Celery queue's list.
-- Returns {outcome, ring, record}: outcome is `created`, `existing`, `conflict` (the ID is another request's),
--   `mismatch` (the Idempotency-Key is), or `quarantined` (such a job ended its workers); then its error follows.

local given = arg.record
local idempotency = arg.idempotency_key and K.idempotency .. arg.idempotency_key .. ':' .. given.owner

local function remember(uid)
  if idempotency then redis.call('SET', idempotency, uid, 'PX', arg.idempotency_ttl) end
end

local function answer(existing, mismatch)
  -- The very same record again is a repeated command whose answer was lost.
  if existing.uid == given.uid then return {'created', 0, redis.call('HGETALL', K.job .. existing.uid)} end
  if existing.body_hash ~= given.body_hash then return {mismatch, 0, {}} end
  return {'existing', 0, redis.call('HGETALL', K.job .. existing.uid)}
end

local known = idempotency and redis.call('GET', idempotency)
local existing = known and load_job(known)
if existing then return answer(existing, 'mismatch') end

existing = find_job(given.owner, given.id)
if existing then
  local reply = answer(existing, 'conflict')
  if reply[1] ~= 'conflict' then remember(existing.uid) end
  return reply
end

local minutes = quarantined(given.recipe)
if minutes then return {'quarantined', 0, {}, quarantine_error(minutes)} end

local time = now()
local job = given
job.status = 'queued'
job.stage = arg.stage
job.created_at = time
job.deadline_at = time + arg.deadline
job.order = redis.call('INCR', K.order)
job.version = 1
for name, value in pairs(job) do redis.call('HSET', K.job .. job.uid, name, value) end
if job.id ~= job.uid then redis.call('HSET', K.ids .. job.owner, job.id, job.uid) end
remember(job.uid)
redis.call('ZADD', K.list .. 'queued:' .. job.owner, job.order, job.uid)
redis.call('HINCRBY', K.counts, 'queued', 1)
redis.call('ZADD', K.deadlines, job.deadline_at, job.uid)
for _, sha256 in ipairs(inputs_of(job)) do refer(sha256) end
local waits = true
if job.stage == 'fetching' then wait(job, time) else waits = wait_for_paint(job, time) end
return {'created', waits and bell_wanted(queue_of(job)) or 0, redis.call('HGETALL', K.job .. job.uid)}

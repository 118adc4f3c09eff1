#!lua
-- Accept a job: write its record and let it wait for its first stage, unless another does the same work
-- (sharing.lua); or find the job that it repeats.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: record (fields that Python gives: uid, id, owner, schema, spec, content, styles, metadata,
--   body_hash, priority, lane, bucket, recipe, retry_of, init), stage (`fetching` or `waiting`), deadline (ms from now),
--   bells,
--   idempotency_key (optional), idempotency_ttl, retention (ms), schema, quarantined (JSON), max_owners (as in position.lua).
-- Keys: idempotency:<key>:<owner>, ids:<owner>, job:<uid>, order, list:queued:<owner>, counts,
--   quarantine:<recipe>, deadlines, refs, unused, wait:<lane>:<owner>, turns:<lane>, turn, waiting, tally;
--   those of sharing.lua; the Celery queue's list.
-- Returns {outcome, ring, record, more}: outcome is `created`, `existing`, `conflict` (the ID is another request's),
--   `mismatch` (the Idempotency-Key is), or `quarantined` (such a job ended its workers). Of a job that was made
--   now the record has what this script added to it, and its place follows; of a quarantined one the error does. Of one that
--   does not wait for a worker the whole record is there.

local given = arg.record
local idempotency = arg.idempotency_key and K.idempotency .. arg.idempotency_key .. ':' .. given.owner

local function remember(uid)
  if idempotency then redis.call('SET', idempotency, uid, 'PX', arg.idempotency_ttl) end
end

local function answer(existing, mismatch)
  -- The very same record again is a repeated command whose answer was lost, and with it the bell.
  if existing.uid == given.uid then
    local waits = existing.status == 'queued' and existing.stage == arg.stage and not existing.following
    local ring = waits and bell_wanted(queue_of(existing)) or 0
    return {'created', ring, redis.call('HGETALL', K.job .. existing.uid), place_of(existing)}
  end
  if existing.body_hash ~= given.body_hash then return {mismatch, 0, {}} end
  return {'existing', 0, redis.call('HGETALL', K.job .. existing.uid), place_of(existing)}
end

local known = idempotency and redis.call('GET', idempotency)
local existing = known and load_job(known)
-- Keys and owners may have colons: another owner's may be of the same name.
if existing and existing.owner == given.owner then return answer(existing, 'mismatch') end

existing = find_job(given.owner, given.id)
if existing then
  local reply = answer(existing, 'conflict')
  if reply[1] ~= 'conflict' then remember(existing.uid) end
  return reply
end

local minutes = quarantined(given.recipe)
if minutes then
  tally('quarantined')
  return {'quarantined', 0, {}, quarantine_error(minutes)}
end

local time = now()
accept_job(given, arg.stage, time + arg.deadline, time)
remember(given.uid)
if not join(given, time) then
  return {'created', 0, redis.call('HGETALL', K.job .. given.uid), place_of(given)}
end
local added = {
  'status', given.status, 'stage', given.stage, 'created_at', tostring(time),
  'deadline_at', tostring(given.deadline_at), 'version', '1',
}
return {'created', bell_wanted(queue_of(given)), added, place_of(given)}

#!lua flags=allow-oom
-- Start an attempt at the next job of the given lanes: owners in turn, within an owner by priority and age.
-- Jobs whose deadline has passed are left to `expire`, records of a later schema to later workers. One that
-- would end its worker, as its like has done, is ended instead.
--
-- Arguments: lanes (that the worker serves), worker, token (random), lease (ms), schema, retention (ms),
--   quarantined (JSON).
-- Keys: turns:<lane>, wait:<lane>:<owner>, job:<uid>, waiting, turn, leases, counts, list:<status>:<owner>,
--   quarantine:<recipe>, delayed, deadlines, ended, tally.
-- Returns {fence, record}; empty when nothing that can be claimed waits.

local MAX_JOBS = 16 -- of one owner, looked at in one call

local function next_job(owner, time)
  local uids = redis.call('ZRANGE', K.wait .. owner.lane .. ':' .. owner.name, 0, MAX_JOBS - 1)
  for _, uid in ipairs(uids) do
    local job = load_job(uid)
    if job and claimable(job, time) then
      local minutes = quarantined(job.recipe)
      if not minutes then return job end
      tally('quarantined')
      end_job(job, time, 'failed', {error = quarantine_error(minutes)})
    end
  end
  return nil
end

local time = now()
for _, owner in ipairs(owners_in_turn(arg.lanes)) do
  local job = next_job(owner, time)
  if job then return start_attempt(job, arg.lanes, time) end
end
return {}

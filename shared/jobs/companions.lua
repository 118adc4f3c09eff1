#!lua flags=allow-oom
-- Start attempts at waiting jobs that can be painted together with one that is held: those of its lane and
-- bucket that go on from the same step. They are given out as if `claim` saw no others: owners in turn, one job
-- each and round again, within an owner by priority and age. A job that lost a worker may be what ended it: it
-- is painted alone from then on. What is lost in company is charged to nobody (attempts.lua).
--
-- Arguments: uid, fence (of the job that is held), most (jobs to give out), lanes (that the worker serves),
--   worker, token (random), lease (ms), schema.
-- Keys: job:<uid>, tally, turns:<lane>, wait:<lane>:<owner>, waiting, turn, leases, counts, list:<status>:<owner>,
--   quarantine:<recipe>.
-- Returns {a list of {fence, record}}; empty when the lease of the job that is held is lost.

local MAX_JOBS = 64 -- of one owner, looked at in one call; at most 1024 in all

local function step_of(checkpoint)
  return checkpoint and cjson.decode(checkpoint).step or nil
end

-- Whether any attempt so far, of these errors (JSON, or false), was lost with its worker.
local function lost_a_worker(errors)
  for _, error in ipairs(cjson.decode(errors or '[]')) do
    if with_its_worker(error) then return true end
  end
  return false
end

-- The first of an owner's jobs that fit, at most `arg.most`: all that can be asked of this owner.
local function fitting(owner, leader, time)
  local found = {}
  local uids = redis.call('ZRANGE', K.wait .. owner.lane .. ':' .. owner.name, 0, MAX_JOBS - 1)
  for _, uid in ipairs(uids) do
    if #found == arg.most then break end
    local read = redis.call('HMGET', K.job .. uid, 'bucket', 'checkpoint', 'schema', 'deadline_at', 'attempt_errors',
      'recipe')
    local fits = read[1] == leader.bucket and step_of(read[2]) == step_of(leader.checkpoint)
      and not lost_a_worker(read[5]) and not quarantined(read[6])
    if fits and claimable({schema = read[3], deadline_at = read[4]}, time) then found[#found + 1] = uid end
  end
  return found
end

local leader = leased_job()
if not leader then return {} end
local given = {}
if not leader.bucket or lost_a_worker(leader.attempt_errors) then return {given} end

local time = now()
local lines = {}
for i, owner in ipairs(owners_in_turn({leader.lane})) do lines[i] = fitting(owner, leader, time) end
for round = 1, math.min(arg.most, MAX_JOBS) do
  for _, line in ipairs(lines) do
    if line[round] and #given < arg.most then
      given[#given + 1] = start_attempt(load_job(line[round]), arg.lanes, time, 1)
    end
  end
end
if #given > 0 then save(leader, {together = 1}) end
return {given}

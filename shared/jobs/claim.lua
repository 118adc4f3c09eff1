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

-- What is passed over may be many: a later Impasto writes, while workers of this one still serve. So the first of
-- a line are looked at, and where all of them are passed over some at a place that changes with each call.
local MAX_WINDOW = 64
local FIRST, OWNERS = 192, 256 -- jobs of one owner, owners of a lane, looked at in one call
local MOST_ENDED = 16

local ended = 0

-- The first that can be claimed of those at these places, and whether there are more behind.
local function in_window(set, from, time)
  local uids = redis.call('ZRANGE', set, from, from + MAX_WINDOW - 1)
  for _, uid in ipairs(uids) do
    local read = redis.call('HMGET', K.job .. uid, 'schema', 'deadline_at', 'recipe')
    if read[1] and claimable({schema = read[1], deadline_at = read[2]}, time) then
      local minutes = quarantined(read[3])
      if not minutes then return (load_job(uid)) end
      if ended == MOST_ENDED then return nil end
      ended = ended + 1
      tally('quarantined')
      end_job(load_job(uid), time, 'failed', {error = quarantine_error(minutes)})
    end
  end
  return nil, #uids == MAX_WINDOW
end

local function next_job(owner, time)
  local set = K.wait .. owner.lane .. ':' .. owner.name
  for from = 0, FIRST - 1, MAX_WINDOW do
    local job, more = in_window(set, from, time)
    if job or not more then return job end
  end
  local behind = redis.call('ZCARD', set) - FIRST
  return behind > 0 and in_window(set, FIRST + time % behind, time) or nil
end

local time = now()
local looked_at = 0
for _, most in ipairs({MAX_OWNERS, OWNERS}) do
  local owners = owners_in_turn(arg.lanes, most)
  for i = looked_at + 1, #owners do
    local job = next_job(owners[i], time)
    if job then return start_attempt(job, arg.lanes, time) end
  end
  looked_at = #owners
  if looked_at < most then break end
end
return {}

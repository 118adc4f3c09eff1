-- What every script needs: the arguments, the time, and reading. Put in front of each by scripts.py, after the key
-- names `K`.
-- A job is handled as a table of its record's fields, all strings. Times are milliseconds since the epoch.

local arg = cjson.decode(ARGV[1])

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A job, and its record as it stands: names and values in turn.
local function load_job(uid)
  local flat = redis.call('HGETALL', K.job .. uid)
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job, flat
end

-- The same of the job that an owner calls by this ID; nil when there is none.
local function find_job(owner, id)
  local job, flat = load_job(redis.call('HGET', K.ids .. owner, id) or id)
  if job and job.owner == owner and job.id == id then return job, flat end
  return nil
end

local function later_schema(job)
  return tonumber(job.schema) > arg.schema
end

local function queue_of(job)
  return job.stage == 'fetching' and 'intake' or 'paint'
end

local function lane_of(job)
  return job.stage == 'fetching' and 'intake' or job.lane
end

-- Whether a job takes part in sharing.lua. Workers of schema 3 and before know nothing of it.
local function shares(job)
  return job.recipe and job.fresh ~= '1' and tonumber(job.schema) >= 4
end

-- Where the jobs stand that follow the one that makes this job's recipe.
local function following_of(job)
  return K.following .. job.recipe .. ':' .. job.owner
end

-- A job's place in its line: by priority, its own or that of a job which follows it, then by age.
local function rank_of(job)
  -- Orders of acceptance stay below 1e13, so the sum is exact in a double and priority comes first.
  return (9 - math.max(job.priority, job.lift or 0)) * 1e13 + job.order
end

-- What one call looks at is bounded, so that Redis serves the others meanwhile.

local MAX_LANES, MAX_OWNERS = 64, 16

-- Those with something waiting in any of the lanes: tables of name, lane and turn, the next in turn first, at most
-- `most` (otherwise 16).
local function owners_in_turn(lanes, most)
  most = most or MAX_OWNERS
  local owners = {}
  for i = 1, math.min(#lanes, MAX_LANES) do
    local found = redis.call('ZRANGE', K.turns .. lanes[i], 0, most - 1, 'WITHSCORES')
    for j = 1, #found, 2 do
      owners[#owners + 1] = {lane = lanes[i], name = found[j], turn = tonumber(found[j + 1])}
    end
  end
  table.sort(owners, function(a, b) return a.turn < b.turn end)
  for i = #owners, most + 1, -1 do owners[i] = nil end
  return owners
end

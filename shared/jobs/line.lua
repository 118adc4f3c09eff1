#!lua flags=no-writes
-- What stands before a painter's door: who waits in these lanes, a sample of each owner's jobs, what is being
-- painted, and what such jobs have taken lately.
--
-- Arguments: lanes.
-- Keys: turns:<lane>, wait:<lane>:<owner>, job:<uid>, leases, paces, pace:<bucket>, waiting.
-- Returns {JSON}: {now, intake, lines: [{lane, owner, size, sample: [[rank, bucket, uid]]}],
--   running: [{worker, lane, owner, bucket, recipe (empty of one that nobody follows), progress, started_at}], paces: {name: text}, buckets: {bucket: text}}.

local MAX_EXACT, MAX_SPREAD, MAX_RUNNING = 64, 48, 256 -- in all

local buckets = {}

local function seen(bucket)
  if bucket and not buckets[bucket] then
    local known = redis.call('GET', K.pace .. bucket)
    if known then buckets[bucket] = known end
  end
  return bucket or ''
end

local function add(sample, uid, rank)
  sample[#sample + 1] = {rank, seen(redis.call('HGET', K.job .. uid, 'bucket')), uid}
end

-- The first few, then some of the others, evenly spread.
local function sampled(set, size, owners)
  local sample, first_uids = {}, redis.call('ZRANGE', set, 0, MAX_EXACT - 1)
  for i = 1, math.min(#first_uids, math.ceil(MAX_EXACT / owners)) do add(sample, first_uids[i], i - 1) end
  local max_spread = math.min(math.ceil(MAX_SPREAD / owners), size - #sample)
  local first = #sample
  for i = 1, max_spread do
    local rank = first + math.floor((i - 0.5) * (size - first) / max_spread)
    local uid = redis.call('ZRANGE', set, rank, rank)[1]
    if uid then add(sample, uid, rank) end
  end
  return sample
end

local lines, owners = {}, owners_in_turn(arg.lanes)
for i, owner in ipairs(owners) do
  local set = K.wait .. owner.lane .. ':' .. owner.name
  local size = redis.call('ZCARD', set)
  lines[i] = {lane = owner.lane, owner = owner.name, size = size, sample = sampled(set, size, #owners)}
end

local running = {}
for _, uid in ipairs(redis.call('ZRANGE', K.leases, 0, MAX_RUNNING - 1)) do
  local read = redis.call('HMGET', K.job .. uid, 'status', 'worker', 'lane', 'bucket', 'progress', 'started_at',
    'owner', 'recipe', 'fresh')
  if read[1] == 'processing' then
    running[#running + 1] = {
      worker = read[2] or '', lane = read[3] or '', bucket = seen(read[4]), progress = read[5] or '',
      started_at = tonumber(read[6]) or 0, owner = read[7] or '',
      recipe = read[9] ~= '1' and read[8] or '',
    }
  end
end

local paces, all = {}, redis.call('HGETALL', K.paces)
for i = 1, #all, 2 do paces[all[i]] = all[i + 1] end
local found = {
  now = now(), intake = tonumber(redis.call('HGET', K.waiting, 'intake')) or 0, lines = lines, running = running,
  paces = paces, buckets = buckets,
}
return {cjson.encode(found)}

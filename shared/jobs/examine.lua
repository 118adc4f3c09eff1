#!lua flags=no-writes
-- What the store knows of some jobs, all of it at one moment: for the audit.
--
-- Arguments: uids (at most 200), statuses (each that there is); key (a sorted set they were found in: then of their
--   records only what places a job is read).
-- Keys: job:<uid>, leases, delayed, deadlines, ended, wait:<lane>:<owner>, list:<status>:<owner>, ids:<owner>,
--   following:<recipe>:<owner>, sharers:<output key>.
-- Returns {time (ms), for each uid {record, scores, uid that its ID names, number of jobs that share its output}}. The
--   scores are those in `key`, leases, delayed, deadlines, ended, intake's waiting set, the waiting set of its own
--   lane, the followers of its recipe, the sharers of its output, and each list in the order of `statuses`. What a job
--   without a record is asked of its owner is nil; of its output it is asked where its whole record is.

local PLACING = {'schema', 'id', 'owner', 'status', 'stage', 'lane', 'priority', 'order', 'recipe', 'following', 'lift'}

local function read(uid)
  if not arg.key then return redis.call('HGETALL', K.job .. uid) end
  local flat = {}
  for i, value in ipairs(redis.call('HMGET', K.job .. uid, unpack(PLACING))) do
    if value then
      flat[#flat + 1] = PLACING[i]
      flat[#flat + 1] = value
    end
  end
  return flat
end

local found = {now()}
for _, uid in ipairs(arg.uids) do
  local function score(key) return key and redis.call('ZSCORE', key, uid) end
  local flat = read(uid)
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  local owner = job.owner
  local sharers = job.output and K.sharers .. (job.output:match('"key":"([^"]*)"') or '')
  local scores = {
    score(arg.key) or false, score(K.leases), score(K.delayed), score(K.deadlines), score(K.ended),
    owner and score(K.wait .. 'intake:' .. owner) or false,
    owner and job.lane and score(K.wait .. job.lane .. ':' .. owner) or false,
    owner and job.recipe and score(K.following .. job.recipe .. ':' .. owner) or false,
    sharers and score(sharers) or false,
  }
  for _, status in ipairs(arg.statuses) do
    scores[#scores + 1] = owner and score(K.list .. status .. ':' .. owner) or false
  end
  local named = owner and job.id and redis.call('HGET', K.ids .. owner, job.id) or false
  found[#found + 1] = {flat, scores, named, sharers and redis.call('ZCARD', sharers) or 0}
end
return found

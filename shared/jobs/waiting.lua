-- What waits: a set for each lane and owner, in which jobs stand by rank, and a line of owners for each lane; the
-- bells that tell of it.

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

-- Whether another bell is wanted: few are outstanding in the Celery queue (a list of the queue's name).
local function bell_wanted(queue)
  return redis.call('LLEN', queue) < arg.bells and 1 or 0
end

-- Paint once: jobs of one owner and one recipe share a painting, but for those that are to be fresh.
--
-- The first of them to be ready for paint *leads*: `recipes:<owner>` names it. Those that come while it is made
-- *follow*: they are queued and waiting as it is, but stand in `following:<recipe>:<owner>` in place of a waiting
-- set. When the leader succeeds they succeed with its output; when it ends otherwise the first of them leads. A
-- job that comes once the output is there succeeds at once. What has more followers than one call settles is kept
-- in `settling`.
--
-- Whoever ends several jobs loads each when its turn comes: the end of one changes its followers.
--
-- The object is its maker's, whose uid is in its key. Where others name it too, all that do stand in
-- `sharers:<output key>`; it goes with the last of them.

-- Followers that are settled in the call that ends their leader; the reaper settles the others.
local MAX_SETTLED_AT_ONCE = 50

-- Until when a job that has ended has its output.
local function output_until(job)
  return job.output_expires_at or job.expires_at
end

-- The job succeeds with the output of another. Needs arg.retention and arg.output_retention.
local function reuse(job, made, time)
  local seconds = cjson.decode(job.seconds or '{}')
  seconds.wait = ((job.waited or 0) + (job.following and time - job.waiting_since or 0)) / 1000
  job.reused_from = made.reused_from or made.id
  end_job(job, time, 'succeeded', {
    output = made.output, loss = made.loss, seconds = cjson.encode(seconds),
    reused_from = job.reused_from,
  })
  local sharers = K.sharers .. cjson.decode(made.output).key
  if redis.call('EXISTS', sharers) == 0 then redis.call('ZADD', sharers, output_until(made), made.uid) end
  redis.call('ZADD', sharers, output_until(job), job.uid)
  tally('finished')
  tally('reused')
end

-- The job waits for its leader, which is taken up no later than its followers' priorities ask for.
local function follow(job, leader, time)
  count_following(job, redis.call('ZADD', following_of(job), rank_of(job), job.uid))
  redis.call('HSET', K.job .. job.uid, 'following', 1, 'waiting_since', time)
  job.following = '1'
  if tonumber(job.priority) > math.max(leader.priority, leader.lift or 0) then
    redis.call('HSET', K.job .. leader.uid, 'lift', job.priority)
    leader.lift = job.priority
    redis.call('ZADD', K.wait .. leader.lane .. ':' .. leader.owner, 'XX', rank_of(leader), leader.uid)
  end
end

-- A job is ready for paint: it waits for a painter, or for another job that does the same work, or that has been
-- done already. Returns whether it waits for a painter. Needs arg.retention,
-- arg.output_retention and arg.schema.
wait_for_paint = function(job, time)
  if not shares(job) then
    wait(job, time)
    return true
  end
  local leaders = K.recipes .. job.owner
  local uid = redis.call('HGET', leaders, job.recipe)
  local other = uid and uid ~= job.uid and load_job(uid)
  if other and later_schema(other) then
    wait(job, time)
    return true
  end
  if other and other.owner == job.owner and other.recipe == job.recipe and not other.following then
    if other.output then
      reuse(job, other, time)
      return false
    elseif not other.completed_at then
      follow(job, other, time)
      return false
    end
  end
  redis.call('HSET', leaders, job.recipe, job.uid)
  wait(job, time)
  return true
end

-- The first follower leads from now on. It has waited all along.
local function promote(job, time)
  local since = job.waiting_since
  redis.call('HDEL', K.job .. job.uid, 'following')
  job.following = nil
  if wait_for_paint(job, time) then redis.call('HSET', K.job .. job.uid, 'waiting_since', since) end
end

-- What becomes of followers whose leader has ended, at most so many of them: each succeeds as it did, or the first
-- takes its place. Returns the status that each of them has now. Needs arg.retention,
-- arg.output_retention, arg.schema and arg.quarantined.
local function settle(recipe, owner, time, most)
  local line, name = K.following .. recipe .. ':' .. owner, recipe .. ':' .. owner
  local leader = redis.call('HGET', K.recipes .. owner, recipe)
  local made, minutes = leader and load_job(leader), quarantined(recipe)
  local settled, leads = {}, false
  local MAX_LOOKED_AT = most - 1
  local uids = redis.call('ZRANGE', line, 0, MAX_LOOKED_AT)
  for _, uid in ipairs(uids) do
    local job = load_job(uid)
    if not job then
      redis.call('ZREM', line, uid)
    elseif not later_schema(job) then
      if made and made.output and made.recipe == recipe then
        reuse(job, made, time)
      elseif minutes then
        end_job(job, time, 'failed', {error = quarantine_error(minutes)})
      else
        stop_following(job)
        promote(job, time)
        leads = true
      end
      settled[#settled + 1] = job.status
    end
    if leads then break end
  end
  if not leads and #uids == most and redis.call('EXISTS', line) == 1 then
    redis.call('ZADD', K.settling, time, name)
  else
    redis.call('ZREM', K.settling, name)
  end
  return settled
end

-- A job has ended that was no follower: see to those that followed it.
hand_over = function(job, recipe, time)
  local leaders = K.recipes .. job.owner
  if redis.call('HGET', leaders, recipe) ~= job.uid then return end
  if job.status ~= 'succeeded' then redis.call('HDEL', leaders, recipe) end
  if redis.call('EXISTS', K.following .. recipe .. ':' .. job.owner) == 1 then
    settle(recipe, job.owner, time, MAX_SETTLED_AT_ONCE)
  end
end

-- An ended job is about to be forgotten, or its output: another that names its output is found by its recipe from now on.
-- Returns whether the output's object is still needed.
give_up_output = function(job)
  if not job.output then return false end
  local key = cjson.decode(job.output).key
  local sharers, heir = K.sharers .. key, nil
  if redis.call('ZREM', sharers, job.uid) == 1 then
    local left = redis.call('ZREVRANGE', sharers, 0, 1)
    heir = left[1]
    -- A set that has nobody but the maker says nothing that the key does not.
    if #left == 1 and key:match('^outputs/([^/]+)/') == heir then redis.call('DEL', sharers) end
  end
  local leaders = K.recipes .. job.owner
  if job.recipe and redis.call('HGET', leaders, job.recipe) == job.uid then
    if heir then
      redis.call('HSET', leaders, job.recipe, heir)
    else
      redis.call('HDEL', leaders, job.recipe)
    end
  end
  return heir ~= nil
end

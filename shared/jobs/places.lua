-- Where a waiting job stands in its lane.

-- A job's place among those that wait in its lane, given that owners take turns, the first being 1; nil when it
-- does not wait. One that follows another has the place of that one, and the first once nothing stands before it.
-- Needs arg.max_owners (owners looked at; with more of them waiting the place is a lower bound).
local function place_of(job)
  if not job.stage or later_schema(job) then return nil end
  if job.following then
    job = load_job(redis.call('HGET', K.recipes .. job.owner, job.recipe) or '')
    if not job or job.status ~= 'queued' then return 1 end
  end
  local lane = lane_of(job)
  local before = redis.call('ZRANK', K.wait .. lane .. ':' .. job.owner, job.uid)
  if not before then return nil end
  -- By the time this owner has been served `before` times, each other one has been served as often, and once
  -- more where their turn comes first.
  local place, ahead = before + 1, 1
  for _, owner in ipairs(redis.call('ZRANGE', K.turns .. lane, 0, arg.max_owners - 1)) do
    if owner == job.owner then
      ahead = 0
    else
      place = place + math.min(redis.call('ZCARD', K.wait .. lane .. ':' .. owner), before + ahead)
    end
  end
  return place
end

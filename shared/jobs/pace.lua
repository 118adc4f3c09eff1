-- What jobs have taken lately, for foretelling what others will take (eta.py). Nothing depends on it.

local PACE_MEMORY = 8 -- about so many of the last jobs count in a mean
local FIT_DECAY = 0.95 -- about twenty of the last jobs count in the line that is fitted
local PACE_KEPT = 86400000 -- ms for which a bucket that nothing more is seen of is remembered

-- Decayed means: 'weight seconds batch'.
local function blended(known, seconds, batch)
  local weight, old_seconds, old_batch = string.match(known or '', '^(%S+) (%S+) (%S+)$')
  weight = math.min((tonumber(weight) or 0) + 1, PACE_MEMORY)
  old_seconds, old_batch = tonumber(old_seconds) or seconds, tonumber(old_batch) or batch
  return string.format('%d %.6g %.6g', weight, old_seconds + (seconds - old_seconds) / weight,
    old_batch + (batch - old_batch) / weight)
end

-- Decayed sums of a straight line through seconds (y) over work (x): 'n x y xx xy'.
local function fitted(known, x, y)
  local sums = {0, 0, 0, 0, 0}
  local place = 0
  for sum in string.gmatch(known or '', '%S+') do
    place = place + 1
    sums[place] = tonumber(sum) * FIT_DECAY
  end
  for i, value in ipairs({1, x, y, x * x, x * y}) do sums[i] = sums[i] + value end
  return string.format('%.6g %.6g %.6g %.6g %.6g', unpack(sums))
end

-- A job has been painted in one go, in so many milliseconds from its claim on, as one of `batch`.
local function learn_painting(job, took, batch, work)
  local seconds = took / 1000 / batch
  if job.bucket then
    local key = K.pace .. job.bucket
    redis.call('SET', key, blended(redis.call('GET', key), seconds, batch), 'PX', PACE_KEPT)
  end
  redis.call('HSET', K.paces, job.lane, blended(redis.call('HGET', K.paces, job.lane), seconds, batch))
  if work then
    local fit = 'fit.' .. job.lane
    redis.call('HSET', K.paces, fit, fitted(redis.call('HGET', K.paces, fit), work, seconds))
  end
end

-- A job's pictures were brought in, in so many seconds.
local function learn_intake(seconds)
  if seconds then redis.call('HSET', K.paces, 'intake', blended(redis.call('HGET', K.paces, 'intake'), seconds, 1)) end
end

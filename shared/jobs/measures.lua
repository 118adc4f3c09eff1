-- What is counted and timed, over all processes and restarts: fields of one hash, which `census.py` reads. A count
-- that cannot be kept stops nothing.

-- Count an event; `Tally` in results.py and `census.py` say what each name stands for.
local function tally(event)
  redis.pcall('HINCRBY', K.tally, event, 1)
end

-- Count a time (ms) in the bucket that it falls into, and add it up. `bounds` are the buckets' upper ends (ms),
-- ascending; the field is named by the bound itself, so that other bounds another day do not make it another's.
local function measure(what, time, bounds)
  local bucket = 'inf'
  for i = 1, #bounds do
    if time <= bounds[i] then
      bucket = bounds[i]
      break
    end
  end
  redis.pcall('HINCRBY', K.tally, 'time:' .. what .. ':' .. bucket, 1)
  redis.pcall('HINCRBY', K.tally, 'time:' .. what .. ':sum', math.max(0, math.floor(time + 0.5)))
end

-- Count what is in which state: one of a kind goes from a state to another; nil where it begins, or is forgotten.
local function recount(kind, from, to)
  if from then redis.pcall('HINCRBY', K.tally, kind .. ':' .. from, -1) end
  if to then redis.pcall('HINCRBY', K.tally, kind .. ':' .. to, 1) end
end

-- References to inputs: how many jobs and uploads name each.

-- Every change of a count leaves a trace that is never taken back, so that the audit can tell that an input was
-- named and let go meanwhile. Inputs share 4096 such traces, which is all the room that they ever take.
local function trace_of(sha256)
  return sha256:sub(1, 3)
end

local function refer(sha256)
  redis.call('HINCRBY', K.refs_moved, trace_of(sha256), 1)
  redis.call('HINCRBY', K.refs, sha256, 1)
  redis.call('ZREM', K.unused, sha256)
end

-- Needs arg.grace: an input stays that long after its last reference went.
local function unrefer(sha256, time)
  redis.call('HINCRBY', K.refs_moved, trace_of(sha256), 1)
  if redis.call('HINCRBY', K.refs, sha256, -1) <= 0 then
    redis.call('HDEL', K.refs, sha256)
    redis.call('ZADD', K.unused, time + arg.grace, sha256)
  end
end

-- The inputs that a record's pictures are kept as, once for each time it names them. Needs a table with the
-- record's JSON of `content`, `styles` and, where there is one, `init`.
local function inputs_of(named)
  local found = {}
  local function add(picture)
    if not picture then return end
    if picture.sha256 then found[#found + 1] = picture.sha256 end
    add(picture.mask)
    add(picture.region)
  end
  add(cjson.decode(named.content))
  for _, style in ipairs(cjson.decode(named.styles)) do add(style) end
  if named.init then add(cjson.decode(named.init)) end
  return found
end

-- The pictures of a job once the copies that were given are counted in place of those in its record.
-- Needs arg.content, arg.styles and, where the job has one, arg.init (JSON each); arg.grace.
local function pinned(job, time)
  local named = {content = arg.content, styles = arg.styles, init = arg.init or job.init}
  for _, sha256 in ipairs(inputs_of(named)) do refer(sha256) end
  for _, sha256 in ipairs(inputs_of(job)) do unrefer(sha256, time) end
  return named
end

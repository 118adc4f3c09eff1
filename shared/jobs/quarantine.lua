-- Quarantine: the like of a job that ended its workers again and again is refused for a while (`no_attempt_left` in
-- attempts.lua).

-- A recipe names what is made of what: jobs of one recipe would do the same work. The minutes for which one is
-- still in quarantine, rounded up; nil when it is in none.
local function quarantined(recipe)
  local left = recipe and redis.call('PTTL', K.quarantine .. recipe) or 0
  return left > 0 and math.ceil(left / 60000) or nil
end

-- The error of a job in quarantine. Needs arg.quarantined (JSON, with a place for the minutes).
local function quarantine_error(minutes)
  local error = cjson.decode(arg.quarantined)
  error.detail = string.format(error.detail, minutes)
  return cjson.encode(error)
end

#!lua flags=allow-oom
-- Who fetches what: of each of several sources either what another job's fetch has brought, or that one is under
-- way, or that the asker is to fetch it, under a lease.
--
-- Arguments: names (of the sources: scope and URL, hashed), flight (random: the asker's name for its fetches),
--   hold (ms for which a fetch may go without a sign of life), awaited (by name: the flight that the asker has been
--   waiting for), accepted (ms: when the asker's job was; outcomes from before are old), keep (ms for which an
--   outcome that is used is kept on, where it is), grace (ms).
-- Keys: fetch:<name>, sweeping, refs, unused, tally.
-- Returns for each name one of {`fetch`}, {`wait`, flight}, {`copy`, JSON}, {`fault`, JSON}.

local time = now()

-- Whether the copy is there and stays: somebody names it, or is about to.
local function held(sha256)
  if redis.call('ZSCORE', K.sweeping, sha256) then return false end
  if redis.call('HEXISTS', K.refs, sha256) == 1 then return true end
  if not redis.call('ZSCORE', K.unused, sha256) then return false end
  redis.call('ZADD', K.unused, time + arg.grace, sha256)
  return true
end

-- Whether an outcome is for the asker. A fault that may pass is for those alone who have waited for it.
local function usable(name, found)
  if found.passing then return arg.awaited[name] == found.flight end
  if arg.accepted and arg.accepted > found.ended then return false end
  return not found.copy or held(found.copy.sha256)
end

local replies = {}
for i, name in ipairs(arg.names) do
  local text = redis.call('GET', K.fetch .. name)
  local found = text and cjson.decode(text)
  if found and not found.ended then
    replies[i] = {'wait', found.flight}
  elseif found and usable(name, found) then
    tally('shared')
    if found.copy and arg.keep then redis.call('PEXPIRE', K.fetch .. name, arg.keep) end
    replies[i] = found.copy and {'copy', cjson.encode(found.copy)} or {'fault', cjson.encode(found.fault)}
  else
    redis.call('SET', K.fetch .. name, cjson.encode({flight = arg.flight}), 'PX', arg.hold)
    replies[i] = {'fetch'}
  end
end
return replies

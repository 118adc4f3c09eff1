#!lua flags=allow-oom
-- Fetches are still under way: prolong their leases.
--
-- Arguments: names (of the sources), flight, hold (ms).
-- Keys: fetch:<name>.
-- Returns {the number that are still the asker's}.

local kept = 0
for _, name in ipairs(arg.names) do
  local text = redis.call('GET', K.fetch .. name)
  local found = text and cjson.decode(text)
  if found and found.flight == arg.flight and not found.ended then
    kept = kept + redis.call('PEXPIRE', K.fetch .. name, arg.hold)
  end
end
return {kept}

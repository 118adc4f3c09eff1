#!lua flags=allow-oom
-- A fetch has ended: remember what came of it for a while, or let another begin.
--
-- Arguments: name (of the source), flight, keep (ms), copy or fault (plain; neither: nothing is known), passing
--   (whether the fault may pass).
-- Keys: fetch:<name>.
-- Returns {1}; {0} when the fetch is another's by now, or its outcome is known.

local text = redis.call('GET', K.fetch .. arg.name)
local found = text and cjson.decode(text)
if not found or found.flight ~= arg.flight or found.ended then return {0} end
if not arg.copy and not arg.fault then
  redis.call('DEL', K.fetch .. arg.name)
else
  local outcome = {flight = arg.flight, ended = now(), copy = arg.copy, fault = arg.fault, passing = arg.passing}
  redis.call('SET', K.fetch .. arg.name, cjson.encode(outcome), 'PX', arg.keep)
end
return {1}

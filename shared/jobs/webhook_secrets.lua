#!lua
-- The secrets that an owner's webhooks are signed with, the present one first; made at first use.
-- Without allow-oom: a full server refuses before anything is written.
--
-- Arguments: owner, made (a new secret, taken where there is none or where it is to be rotated), rotate (1: the new one
--   takes the present one's place), overlap (ms for which the one before goes on signing).
-- Keys: webhook_secrets:<owner>.
-- Returns {JSON: list of {secret, since, ends}, times in ms; the present one has no end}.

local MAX_KEPT = 10 -- secrets that sign beside the present one: those before them go early

local key = K.webhook_secrets .. arg.owner
local time = now()
local text = redis.call('GET', key)
local kept = text and cjson.decode(text) or {}
local changed = #kept == 0 or arg.rotate
if changed then
  if kept[1] then kept[1].ends = time + arg.overlap end
  table.insert(kept, 1, {secret = arg.made, since = time})
end
for i = #kept, 2, -1 do
  if kept[i].ends <= time or i > MAX_KEPT + 1 then table.remove(kept, i) end
end
if changed then redis.call('SET', key, cjson.encode(kept)) end
return {cjson.encode(kept)}

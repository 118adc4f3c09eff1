#!lua flags=allow-oom
-- Go on with the followers of one leader that has ended, the longest unattended first.
--
-- Arguments: limit (followers in one call), retention (ms), schema, quarantined (JSON).
-- Keys: settling, following:<recipe>:<owner>, recipes:<owner>, sharers:<output key>, quarantine:<recipe>, tally,
--   job:<uid>, leases, delayed, deadlines, ended, counts, list:<status>:<owner>, and those of waiting.
-- Returns for each follower that was attended to the status that it has now.

local time = now()
local names = redis.call('ZRANGEBYSCORE', K.settling, '-inf', '+inf', 'LIMIT', 0, 1)
if #names == 0 then return {} end
local recipe, owner = names[1]:match('^([^:]*):(.*)$')
return settle(recipe, owner, time, arg.limit)

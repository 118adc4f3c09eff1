#!lua flags=no-writes
-- Read the record that an owner's ID names, and the job's place among those that wait: what a poll shows.
--
-- Arguments: owner, id, max_owners (as in position.lua).
-- Keys: ids:<owner>, job:<uid>, recipes:<owner>, wait:<lane>:<owner>, turns:<lane>, wait:<lane>:<each owner>.
-- Returns {record, place}: no place when the job does not wait; empty when there is no such job.

local job = find_job(arg.owner, arg.id)
if not job then return {} end
local flat = {}
for name, value in pairs(job) do
  flat[#flat + 1] = name
  flat[#flat + 1] = value
end
return {flat, place_of(job)}

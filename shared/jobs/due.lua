#!lua flags=allow-oom
-- Ended jobs whose retention is over, but for those that a batch which tries them again has yet to read.
--
-- Arguments: limit (jobs in one call), schema.
-- Keys: ended, job:<uid>, batch:<uid>.
-- Returns owner and ID of each, in one list.

local found = {}
for _, job in ipairs(jobs_due(K.ended, now(), reader_of)) do
  found[#found + 1] = job.owner
  found[#found + 1] = job.id
end
return found

#!lua flags=no-writes
-- Read the record that an owner's ID names.
--
-- Arguments: owner, id.
-- Keys: ids:<owner>, job:<uid>.
-- Returns the record, empty when there is none.

local job = find_job(arg.owner, arg.id)
return job and redis.call('HGETALL', K.job .. job.uid) or {}

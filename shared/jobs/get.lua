#!lua flags=no-writes
-- Read the record that an owner's ID names.
--
-- Arguments: owner, id.
-- Keys: ids:<owner>, job:<uid>.
-- Returns the record, empty when there is none.

local uid = redis.call('HGET', K.ids .. arg.owner, arg.id)
return uid and redis.call('HGETALL', K.job .. uid) or {}

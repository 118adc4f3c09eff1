#!lua flags=no-writes
-- Read the record that an owner's ID names.
--
-- Arguments: owner, id.
-- Keys: ids:<owner>, job:<uid>.
-- Returns the record, empty when there is none.

local _, record = find_job(arg.owner, arg.id)
return record or {}

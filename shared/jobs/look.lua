#!lua flags=no-writes
-- Read the record that an owner's ID names, and the job's place among those that wait: what a poll shows.
--
-- Arguments: owner, id, uid and version (of the record as the caller knows it, or neither), max_owners (as in
--   position.lua).
-- Keys: ids:<owner>, job:<uid>, recipes:<owner>, wait:<lane>:<owner>, turns:<lane>, wait:<lane>:<each owner>.
-- Returns {record, place}: the record is empty when the caller knows it, no place when the job does not wait; empty
--   when there is no such job.

-- What a place is told from.
local PLACING = {'uid', 'version', 'owner', 'schema', 'stage', 'lane', 'following'}

local uid = redis.call('HGET', K.ids .. arg.owner, arg.id) or arg.id
if uid == arg.uid then
  local known = {}
  for i, value in ipairs(redis.call('HMGET', K.job .. uid, unpack(PLACING))) do
    known[PLACING[i]] = value or nil
  end
  -- Whether a job follows another is seen in its place alone, and is not told by its version.
  if known.version == arg.version and not known.following then return {{}, place_of(known)} end
end

local job, record = find_job(arg.owner, arg.id)
if not job then return {} end
return {record, place_of(job)}

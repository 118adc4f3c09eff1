#!lua
-- Keep an uploaded picture for the retention time; it refers to its input meanwhile.
--
-- Arguments: owner, upload_id, picture (JSON), sha256, upload_retention (ms).
-- Keys: uploads:<owner>, upload_ends, refs, unused.
-- Returns {1}.

if redis.call('HSETNX', K.uploads .. arg.owner, arg.upload_id, arg.picture) == 1 then
  redis.call('ZADD', K.upload_ends, now() + arg.upload_retention, arg.upload_id .. ':' .. arg.owner)
  refer(arg.sha256)
end
return {1}

#!lua flags=allow-oom
-- Forget uploads whose retention is over.
--
-- Arguments: limit (uploads in one call), grace (ms).
-- Keys: upload_ends, uploads:<owner>, refs, unused.
-- Returns {the number of uploads}.

local time = now()
local ended = redis.call('ZRANGEBYSCORE', K.upload_ends, '-inf', time, 'LIMIT', 0, arg.limit)
for _, name in ipairs(ended) do
  local upload_id, owner = name:match('^([^:]*):(.*)$')
  local picture = redis.call('HGET', K.uploads .. owner, upload_id)
  if picture then unrefer(cjson.decode(picture).sha256, time) end
  redis.call('HDEL', K.uploads .. owner, upload_id)
  redis.call('ZREM', K.upload_ends, name)
end
return {#ended}

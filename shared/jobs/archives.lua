-- What several scripts need of archives. The archive of a batch is a hash: `state` (`building`, also while it waits to
-- be begun, or `ready`), `done` and `total` (items), `wanted_at`, `fence` (of whoever builds it) and `begun_at`, and
-- once it is ready `key`, `size` and `expires_at`.

local function load_archive(uid)
  local flat = redis.call('HGETALL', K.archive .. uid)
  if #flat == 0 then return nil end
  local archive = {}
  for i = 1, #flat, 2 do archive[flat[i]] = flat[i + 1] end
  return archive
end

-- The archive that `arg.uid` names, when `arg.fence` is its builder's and its batch is there still.
local function held_archive()
  local archive = load_archive(arg.uid)
  if not archive or archive.fence ~= arg.fence or redis.call('EXISTS', K.batch .. arg.uid) == 0 then return nil end
  return archive
end

#!lua flags=allow-oom
-- Prolong a lease, and write what a poll may see of the work. A bare heartbeat leaves the record as it is.
--
-- Arguments: uid, fence, lease (ms); progress (JSON), stage, preview_key and preview_step where they are new.
-- Keys: job:<uid>, tally, leases.
-- Returns {1 when the work should stop: cancel asked or deadline passed}; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
local time = now()
redis.call('ZADD', K.leases, time + arg.lease, job.uid)
local changes = {}
for _, name in ipairs({'progress', 'stage', 'preview_key', 'preview_step'}) do
  if arg[name] and tostring(arg[name]) ~= job[name] then changes[name] = arg[name] end
end
if next(changes) then save(job, changes) end
return {(job.cancel_requested == '1' or time >= tonumber(job.deadline_at)) and 1 or 0}

#!lua flags=allow-oom
-- A caller wants a job to stop: what is queued (fetching included) ends at once, what is processing is asked to.
--
-- Arguments: owner, id, retention (ms), schema.
-- Keys: ids:<owner>, job:<uid>, leases, delayed, deadlines, ended, counts, list:<status>:<owner>,
--   wait:<lane>:<owner>, turns:<lane>, waiting, tally.
-- Returns {outcome, record}: outcome is `ok` or `conflict` (it has ended otherwise); empty when there is none.

local job = find_job(arg.owner, arg.id)
if not job then return {} end
local outcome = 'ok'
if later_schema(job) then
  outcome = 'conflict'
elseif job.status == 'queued' then
  end_job(job, now(), 'canceled', {})
elseif job.status == 'processing' then
  if job.cancel_requested ~= '1' then save(job, {cancel_requested = 1}) end
elseif job.status ~= 'canceled' then
  outcome = 'conflict'
end
return {outcome, redis.call('HGETALL', K.job .. job.uid)}

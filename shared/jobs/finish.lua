#!lua flags=allow-oom
-- The picture is stored: the job has succeeded, even if its cancel was asked for meanwhile.
-- Repeating it (the answer was lost) changes nothing and succeeds.
--
-- Arguments: uid, fence, output, seconds, loss (JSON each), evaluations, batch, work (where it is known),
--   retention, output_retention (ms), bounds (ms, of the buckets that times are counted in).
-- Keys: job:<uid>, tally, pace:<bucket>, paces, changes, leases, deadlines, delayed, ended, output_ends, counts,
--   list:<status>:<owner>.
-- Returns {1}; empty when the lease is lost.

local named = load_job(arg.uid)
if named and named.status == 'succeeded' and named.output == arg.output then
  tally('repeated')
  return {1}
end
local job = leased_job()
if not job or job.status ~= 'processing' then return {} end
local time = now()
local seconds = cjson.decode(job.seconds or '{}')
for name, value in pairs(cjson.decode(arg.seconds)) do seconds[name] = value end
seconds.wait = (job.waited or 0) / 1000
local took, told = time - job.started_at, ((seconds.paint or 0) + (seconds.store or 0)) * 1000
-- One that took much longer than this attempt at it was interrupted: it says nothing of others.
if took <= 1.5 * told + 2000 then learn_painting(job, took, tonumber(arg.batch), arg.work) end
end_job(job, time, 'succeeded', {
  output = arg.output, seconds = cjson.encode(seconds), loss = arg.loss, evaluations = arg.evaluations,
  batch = arg.batch, progress = false,
})
tally('finished')
for _, part in ipairs({'wait', 'paint', 'store'}) do
  if seconds[part] then measure(part, 1000 * seconds[part], arg.bounds) end
end
measure('job', job.completed_at - job.created_at, arg.bounds)
return {1}

#!lua flags=allow-oom
-- Intake is done: keep the clean copies and let the job wait for paint, unless another does the same work
-- (sharing.lua).
--
-- Arguments: uid, fence, content, styles, init (where the job has one), seconds (JSON each), bucket, recipe,
--   grace, retention, output_retention (ms), schema, bells, bounds (ms, of the buckets that times are counted in).
-- Keys: job:<uid>, tally, paces, leases, refs, unused, wait:<lane>:<owner>, turns:<lane>, turn, waiting; those of
--   sharing.lua; the Celery queue's list.
-- Returns {ring}; empty when the lease is lost.

local job = leased_job()
if not job or job.stage ~= 'fetching' then return {} end
local time = now()
local named = pinned(job, time)
redis.call('ZREM', K.leases, job.uid)
save(job, {
  stage = 'waiting', content = named.content, styles = named.styles, init = named.init, seconds = arg.seconds,
  bucket = arg.bucket, recipe = arg.recipe,
  attempt = 0, fence = false, worker = false, progress = false, waited = false,
})
local fetch = cjson.decode(arg.seconds).fetch
learn_intake(fetch)
if fetch then measure('fetch', 1000 * fetch, arg.bounds) end
return {wait_for_paint(job, time) and bell_wanted('paint') or 0}

#!lua flags=allow-oom
-- Some pictures of a job in intake are in: keep their clean copies, so that another attempt begins with them.
--
-- Arguments: uid, fence, content, styles, init (where the job has one; JSON each), grace (ms).
-- Keys: job:<uid>, refs, unused.
-- Returns {1}; empty when the lease is lost.

local job = leased_job()
if not job or job.stage ~= 'fetching' then return {} end
save(job, pinned(job, now()))
return {1}

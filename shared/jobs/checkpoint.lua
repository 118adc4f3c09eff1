#!lua flags=allow-oom
-- Point to the place from which another attempt can go on. No poll sees it, so the version stays.
--
-- Arguments: uid, fence, checkpoint (JSON).
-- Keys: job:<uid>, tally.
-- Returns {the pointer that was replaced, as JSON, or ''}; empty when the lease is lost.

local job = leased_job()
if not job then return {} end
redis.call('HSET', K.job .. job.uid, 'checkpoint', arg.checkpoint)
return {job.checkpoint or ''}

#!lua flags=no-writes
-- A job's place among those that wait in its lane, given that owners take turns. One that follows another has the
-- place of that one, and the first once nothing stands before it.
--
-- Arguments: uid, max_owners (owners looked at; with more of them waiting the place is a lower bound).
-- Keys: job:<uid>, recipes:<owner>, wait:<lane>:<owner>, turns:<lane>, wait:<lane>:<each owner>.
-- Returns the place, the first being 1; nil when the job does not wait.

local job = load_job(arg.uid)
return job and place_of(job)

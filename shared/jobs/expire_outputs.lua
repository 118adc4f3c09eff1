#!lua flags=allow-oom
-- Forget the outputs of jobs that are kept longer than these.
--
-- Arguments: limit (jobs in one call), schema.
-- Keys: output_ends, job:<uid>, recipes:<owner>, sharers:<output key>, changes.
-- Returns {the number of jobs, keys of the objects that are not needed any more}.

local jobs, keys = jobs_due(K.output_ends, now()), {}
for _, job in ipairs(jobs) do
  redis.call('ZREM', K.output_ends, job.uid)
  if job.output then
    if not give_up_output(job) then keys[#keys + 1] = cjson.decode(job.output).key end
    save(job, {output = false, recipe = false})
  end
end
return {#jobs, keys}

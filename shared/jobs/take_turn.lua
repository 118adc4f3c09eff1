#!lua flags=allow-oom
-- Let one worker at a time do what any may do: the first that asks has it until the time is over.
--
-- Arguments: name (of what is to be done), worker, hold (ms).
-- Keys: lock:<name>.
-- Returns {1} when it is the asker's turn, else {0}.

return {redis.call('SET', K.lock .. arg.name, arg.worker, 'NX', 'PX', arg.hold) and 1 or 0}

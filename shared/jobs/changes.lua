-- Telling whoever waits: each visible change is one small entry of a capped stream. It says where the job stands,
-- so that most readers need not look at the record. A job that is new is not told of: nobody can wait for it yet.

local CHANGES_KEPT = 65536

-- `fields` are names and values in turn. What cannot be told stops nothing.
local function add_change(fields)
  redis.pcall('XADD', K.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', unpack(fields))
end

-- A job has changed; its record is written.
local function tell_change(job)
  local fields = {'uid', job.uid, 'version', job.version, 'status', job.status, 'stage', job.stage or ''}
  for _, name in ipairs({'progress', 'preview_step', 'batch_id', 'custom_id'}) do
    if job[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = job[name]
    end
  end
  add_change(fields)
end

-- A batch has changed, not only one of its items.
local function tell_batch_change(uid, version, status)
  add_change({'uid', uid, 'version', version, 'status', status, 'stage', ''})
end

-- Keeps the job of a callback that is due again then. ARGV[3]: how long behind that, in milliseconds.
local function keep(id, due_at)
  local job, till = of('job', id), due_at + ARGV[3]
  local expires_at = tonumber(call('HGET', job, 'expires_at'))
  if expires_at and expires_at < till then
    call('HSET', job, 'expires_at', till)
    call('ZADD', P .. 'expires', till, id)
  end
end


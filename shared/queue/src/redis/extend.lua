-- Extends leases, but not beyond their attempts' ends. ARGV[3]: by how long; then a pair for each:
-- job and token. Answers a pair for each: how long it is, or -1 if it has ended, and whether the job
-- is not wanted any more.
local time = tonumber(ARGV[3])
local answers = {}
for at = 4, #ARGV, 2 do
  local id, job = ARGV[at], of('job', ARGV[at])
  local known = call('HMGET', job, 'state', 'token', 'attempt_until', 'cancel', 'accepted',
    'worker', 'poll')
  local is_held = known[1] == 'leased' and known[2] == ARGV[at + 1] and tonumber(known[3]) > now
  local remains = -1
  if is_held then
    local till = math.min(now + time, tonumber(known[3]))
    call('HSET', job, 'lease_until', till, 'accepted', '1')
    if not known[5] then
      -- By that, the job is started.
      call('HDEL', job, 'start_by')
      if known[7] then
        call('ZREM', name('poll', known[6], known[7]), id)
      end
    end
    call('ZADD', P .. 'leased', 'XX', till, id)
    remains = till - now
  end
  answers[#answers + 1] = remains
  answers[#answers + 1] = is_held and known[4] and 1 or 0
end
return answers

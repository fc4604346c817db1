-- The server's clock was set back, or it was set ahead, or nobody swept for a while and so nobody could
-- extend: leases end so much later, or sooner, as the clock is off, and not before long. A time that
-- is told is a test's, and passes as that likes.
-- Sweeps come every second.
local SILENCE_MAX = 8000
local BACK_MAX = 2000
-- The longest wait for another attempt.
local WAIT_MAX = 60000

local function mind_the_clock()
  local last = tonumber(call('GET', P .. 'last_sweep') or nil)
  local step = last and now - last or 0
  if ARGV[1] ~= '' or (step <= SILENCE_MAX and step >= -BACK_MAX) then
    return
  end
  local soonest = step > 0 and now + GRACE or 0
  for _, id in ipairs(call('ZRANGE', P .. 'leased', 0, -1)) do
    local times = call('HMGET', of('job', id), 'lease_until', 'attempt_until')
    local till = math.max(number_of(times[1]) + step, soonest)
    local ends = math.max(number_of(times[2]) + step, soonest)
    call('ZADD', P .. 'leased', 'XX', till, id)
    call('HSET', of('job', id), 'lease_until', till, 'attempt_until', ends)
  end
  -- Who named a time for the first attempt meant the clock's. If it went ahead, the others are only
  -- made sooner.
  local waiting = step < 0 and call('ZRANGEBYSCORE', P .. 'scheduled', last, last + WAIT_MAX) or {}
  for _, id in ipairs(waiting) do
    local known = call('HMGET', of('job', id), 'attempt', 'run_at')
    if number_of(known[1]) > 0 then
      local at = number_of(known[2]) + step
      call('ZADD', P .. 'scheduled', 'XX', at, id)
      call('HSET', of('job', id), 'run_at', at)
    end
  end
  call('SET', P .. 'last_sweep', now)
end

mind_the_clock()

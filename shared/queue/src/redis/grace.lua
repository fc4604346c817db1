-- Nobody swept for a while, so nobody could extend either: no lease ends before long, as its worker
-- may have run on meanwhile. There are no more leases than the fleet has room for.
local function grant_grace()
  local last = call('GET', P .. 'last_sweep')
  if last and now - last <= GRACE then
    return
  end
  local till = now + GRACE
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'leased', '-inf', '(' .. text(till))) do
    call('ZADD', P .. 'leased', 'XX', till, id)
    local ends = math.max(number_of(call('HGET', of('job', id), 'attempt_until')), till)
    call('HSET', of('job', id), 'lease_until', till, 'attempt_until', ends)
  end
end

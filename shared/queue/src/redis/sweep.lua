-- What time does to jobs. ARGV[3..7]: at most how many of each kind, whether this is the first sweep
-- after the server was away, the longest waits, a seed of chance, and the version of the schema.
-- Answers how many leases ended,
-- jobs became ready and jobs expired, and then which.
local limit = tonumber(ARGV[3])
local waits = waits_from(ARGV[5], ARGV[6])

-- Does something to the jobs for which it is time, and says to how many. All of them leave where
-- they were found, so the next sweep gets past them.
local function each_due(where, till, act)
  local due = call('ZRANGEBYSCORE', P .. where, '-inf', till, 'LIMIT', 0, limit)
  for _, id in ipairs(due) do
    act(find(id))
  end
  return #due
end

local function end_lease(job)
  if not job.accepted then
    -- Its worker never heard of it.
    note_attempt(job, 'not accepted')
    return give_back(job)
  end
  if not died(job) then
    try_again(job, 'lost', waits)
  end
end

local function promote(job)
  local turn, cost = take_turn(job.caller, job.language)
  move(job, 'ready', { run_at = false, turn = turn, cost = cost })
end

if ARGV[4] == '1' then
  -- A server that lost everything is taken as it is: what is enqueued from now on is ours.
  if call('EXISTS', P .. 'schema') == 0 then
    call('HSET', P .. 'schema', 'application', 'flotilla', 'version', ARGV[7])
  end
  grant_grace()
end
call('SET', P .. 'last_sweep', now)
local late = each_due('leased', '(' .. text(now), end_lease)
local promoted = each_due('scheduled', now, promote)
local expired = each_due('start_by', '(' .. text(now), function(job) finish(job, 'expired') end)
may_work = #changed > 0
tell()
return { late, promoted, expired, changed }

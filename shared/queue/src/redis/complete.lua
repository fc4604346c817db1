-- Records results. From ARGV[3] six arguments for each: job, token, digest, body, whether it was
-- stopped, seconds. Answers what came of each.
local answers = {}

-- What an attempt took is what the next jobs of its caller are expected to take.
local function charge(job, seconds)
  local shares = name('shares', job.caller)
  local turn_of, cost_of = 'turn:' .. job.language, 'cost:' .. job.language
  local share = call('HMGET', shares, turn_of, cost_of)
  if share[1] then
    local expected = math.max(0.01, share[2] * (1 - WEIGHT) + seconds * WEIGHT)
    call('HSET', shares, turn_of, share[1] + seconds - job.cost, cost_of, expected)
  end
  local average, time = call('HGET', P .. 'average', job.language), seconds * 1000
  local mean = average and average * (1 - WEIGHT) + time * WEIGHT or time
  call('HSET', P .. 'average', job.language, mean)
end

-- A result that comes again, or too late.
local function not_held(id, token, digest)
  if call('EXISTS', of('job', id)) == 0 then
    return 'gone'
  end
  local known = call('HMGET', of('result', id), 'token', 'digest')
  if known[1] == token then
    return known[2] == digest and 'same' or 'other'
  end
  return 'stale'
end

local function complete(at)
  local id, token, digest = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local job = held(id, token)
  if not job then
    return not_held(id, token, digest)
  end
  local was_cancelled = ARGV[at + 4] == '1' and job.cancel
  call('HSET', of('result', id), 'token', token, 'digest', digest, 'body', ARGV[at + 3])
  note_attempt(job, 'completed')
  -- A worker may tell what it likes, and more than the whole attempt it cannot have been.
  charge(job, math.min(tonumber(ARGV[at + 5]), job.attempt_ms_max / 1000))
  finish(job, was_cancelled and 'cancelled' or 'succeeded')
  may_work = true
  return 'recorded'
end

for at = 3, #ARGV, 6 do
  answers[#answers + 1] = complete(at)
end
tell()
return answers

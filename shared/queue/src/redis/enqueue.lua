-- Keeps jobs. ARGV[3..6]: how many may wait, how many of one caller, how long keys are kept, how many
-- jobs there are; then sixteen arguments for each. Answers a pair for each: what came of it, and which
-- job or how many. A job that is kept already was acknowledged to nobody, and is now.
local WIDTH = 16
local waiting_max, own_max, key_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local answers = {}

local function keep(id, at)
  local caller, language = ARGV[at + 1], ARGV[at + 2]
  local run_at, start_within = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
  if run_at and run_at <= now then
    run_at = nil
  end
  local job = {
    number = text(call('INCR', P .. 'last_number')), caller = caller, language = language,
    state = run_at and 'scheduled' or 'ready', priority = ARGV[at + 4],
    attempts_max = ARGV[at + 10], attempt_ms_max = ARGV[at + 11], ttl_ms = ARGV[at + 12],
    version = 1, created_at = now,
  }
  if run_at then
    job.run_at = run_at
  else
    job.turn, job.cost = take_turn(caller, language)
  end
  if start_within then
    job.start_by = (run_at or now) + start_within
  end
  if ARGV[at + 9] == '1' then
    job.at_most_once = '1'
  end
  if ARGV[at + 14] == '1' then
    job.callback_url = ARGV[at + 13]
  end
  local kept = { id = id }
  change(kept, job)
  call('SET', of('body', id), ARGV[at + 3])
  call('ZADD', P .. 'all', kept.number, id)
  call('ZADD', name('of', caller), kept.number, id)
  call('SADD', P .. 'languages', language)
  count(kept, kept.state, 1)
  enter(kept)
end

local function remember(key, id, digest)
  call('HSET', key, 'id', id, 'digest', digest, 'expires_at', now + key_ttl)
  call('ZADD', P .. 'keys', now + key_ttl, key)
end

local function enqueue(at)
  local id, caller = ARGV[at], ARGV[at + 1]
  local digest = ARGV[at + 8]
  local key = digest ~= '' and name('key', caller, ARGV[at + 7])
  if key then
    local known = call('HMGET', key, 'id', 'digest', 'expires_at')
    -- It counts for its time, and for as long as its job is kept.
    if known[1] and (tonumber(known[3]) > now or call('EXISTS', of('job', known[1])) == 1) then
      if known[2] ~= digest then
        return 'conflict', ''
      end
      return known[1] == id and 'created' or 'existing', known[1]
    end
  end
  if call('EXISTS', of('job', id)) == 1 then
    return 'created', id
  end
  local own = tonumber(ARGV[at + 15]) or own_max
  if number_of(call('HGET', P .. 'waiting', caller)) >= own then
    return 'full_of_callers', text(own)
  end
  if number_of(call('GET', P .. 'waiting_total')) >= waiting_max then
    return 'full', text(waiting_max)
  end
  keep(id, at)
  if key then
    remember(key, id, digest)
  end
  return 'created', id
end

for index = 0, tonumber(ARGV[6]) - 1 do
  local what, which = enqueue(7 + index * WIDTH)
  answers[#answers + 1] = what
  answers[#answers + 1] = which
end
tell()
return answers

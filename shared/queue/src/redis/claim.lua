-- Grants leases. ARGV[3..11]: worker, whether there is a poll, poll, length of the leases, how many,
-- how many running jobs a caller may have, which claim this is, how many languages, and how many
-- callers have another bound; then the languages, those callers with their bounds, and tokens.
-- Answers seven values for each lease.
-- One claim in so many takes from a lower priority first.
local LOWER_FIRST_EVERY = 10
-- The last attempts of a job that are kept.
local ATTEMPTS_KEPT = 100
-- Callers that one claim passes over, and jobs that it finds late, in each language.
local LOOKED_AT_MAX = 10000

local worker, poll, lease = ARGV[3], ARGV[4] == '1' and ARGV[5], tonumber(ARGV[6])
local most, running_max = tonumber(ARGV[7]), tonumber(ARGV[8])
local turn, languages_count, bounds_count =
  tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local FIRST = 12
local next_token = FIRST + languages_count + 2 * bounds_count
local running_max_of = {}
for index = 0, bounds_count - 1 do
  local at = FIRST + languages_count + 2 * index
  -- The first that names a caller counts.
  running_max_of[ARGV[at]] = running_max_of[ARGV[at]] or tonumber(ARGV[at + 1])
end
local answers, left, looked_at = {}, most, 0

local function granted(job)
  for _, value in ipairs({
    job.id, job.token, job.caller, job.language, call('GET', of('body', job.id)) or '',
    text(job.attempt), job.attempt_ms_max,
  }) do
    answers[#answers + 1] = value
  end
end

-- What the same wish was granted before, as far as nobody has shown to have it.
local function granted_before()
  for _, id in ipairs(call('ZRANGE', name('poll', worker, poll), 0, -1)) do
    granted(find(id))
  end
end

local function grant(job)
  local attempt_until = now + job.attempt_ms_max
  move(job, 'leased', {
    token = ARGV[next_token], leases = number_of(job.leases) + 1,
    attempt = number_of(job.attempt) + 1, lease_until = math.min(now + lease, attempt_until),
    attempt_until = attempt_until, accepted = false, worker = worker, poll = poll,
    started_at = now, reason = false,
  })
  next_token = next_token + 1
  call('RPUSH', of('attempts', job.id), cmsgpack.pack({ worker, now }))
  call('LTRIM', of('attempts', job.id), -ATTEMPTS_KEPT, -1)
  -- The queue's clock is that of the last job that went out.
  local clock = number_of(call('HGET', P .. 'clock', job.language))
  call('HSET', P .. 'clock', job.language, math.max(clock, number_of(job.turn)))
  granted(job)
end

-- Grants at most so many jobs of one priority. Callers that have enough running are passed over;
-- their first jobs stay where they are, so what was passed over stays before what comes.
local function take(language, priority, free)
  local heads = name('heads', priority, language)
  local passed = 0
  while free > 0 and looked_at < LOOKED_AT_MAX do
    local size = math.min(passed, 100)
    local page = call('ZRANGE', heads, passed, passed + size)
    if #page == 0 then
      return free
    end
    local callers = {}
    for index, head in ipairs(page) do
      callers[index] = string.sub(head, 25)
    end
    local running = call('HMGET', P .. 'running', unpack(callers))
    for index, head in ipairs(page) do
      local caller = callers[index]
      if number_of(running[index]) < (running_max_of[caller] or running_max) then
        local job = find(string.sub(head, 9, 24))
        if job.start_by and tonumber(job.start_by) < now then
          looked_at = looked_at + 1
          finish(job, 'expired')
        else
          grant(job)
          free = free - 1
        end
        break
      end
      passed, looked_at = passed + 1, looked_at + 1
    end
  end
  return free
end

-- The priorities of ready jobs, the lowest first, without the highest.
local function lower_priorities(language)
  local found = {}
  for priority = 0, PRIORITY_MAX do
    if call('EXISTS', name('heads', text(priority), language)) == 1 then
      found[#found + 1] = text(priority)
    end
  end
  found[#found] = nil
  return found
end

-- Grants one job of a priority that is not the highest: those take turns, and one is passed over whose
-- callers all have enough running.
local function take_lower(language, round)
  local lower = lower_priorities(language)
  for index = 0, #lower - 1 do
    looked_at = 0
    if take(language, lower[(round + index) % #lower + 1], 1) == 0 then
      left = left - 1
      return
    end
  end
end

-- Claims that begin with a lower priority are counted apart from the others, so that each language
-- comes first as often as any other among both, and each priority in each language.
local function claim()
  local round = math.floor(turn / LOWER_FIRST_EVERY)
  local is_lower = turn % LOWER_FIRST_EVERY == LOWER_FIRST_EVERY - 1
  local first = is_lower and round or turn - round
  for index = 0, languages_count - 1 do
    local language = ARGV[FIRST + (first + index) % languages_count]
    if is_lower and left > 0 then
      take_lower(language, math.floor(round / languages_count))
    end
    looked_at = 0
    for priority = PRIORITY_MAX, 0, -1 do
      left = take(language, text(priority), left)
    end
  end
end

if poll then
  granted_before()
end
if #answers == 0 then
  claim()
  -- Whoever waits for work is asking already.
  may_work = false
  tell()
end
return answers

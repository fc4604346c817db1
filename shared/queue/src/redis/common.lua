-- What every operation begins with: the names of keys, and how a job goes from one state to another.
-- KEYS[1] is what all names begin with. ARGV[1] is the time in milliseconds, or nothing for the
-- server's own; ARGV[2] is the store that asks. An operation's own arguments begin at ARGV[3].
--
-- job:ID       hash: what is known of a job; what is not there is nothing, or 0
-- body:ID      what was submitted
-- result:ID    hash: token, digest, body
-- attempts:ID  list of packed attempts
-- all          jobs by number              of:CALLER         the same of one caller
-- scheduled    jobs by run_at              start_by          waiting jobs by start_by
-- leased       jobs by lease_until         worker:WORKER     leased jobs of one worker by number
-- poll:WORKER:POLL              those granted to one wish that the worker has not shown to have
-- expires      final jobs by expires_at    running           hash: leased jobs of each caller
-- ready:PRIORITY:LANGUAGE       ready jobs by turn: where a job stands
-- own:PRIORITY:LANGUAGE:CALLER  the same of one caller
-- heads:PRIORITY:LANGUAGE       the first ready job of each caller by turn: a claim passes over a
--                               caller in one step, however much of it waits
-- since:LANGUAGE                ready jobs by the time when they became so
-- shares:CALLER                 hash: next turn at the earliest and expected seconds in each language
-- sharers:LANGUAGE              set: callers that have a share of it
-- rare:STATE                    jobs in a final state that few are in, by number
-- clock, average                hashes by language: turn of the last job that went out, milliseconds
-- totals:LANGUAGE, languages    hash: how many jobs there are in each state; those that have any
-- counts:CALLER                 hash: how many jobs of a caller there are in each state
-- waiting, waiting_total        hash: scheduled and ready jobs of each caller; of all
-- key:CALLER:KEY                hash of an idempotency key     keys   by the time of their end
-- callback:NUMBER               hash: id, caller, url, attempt, due_at, reason
-- workers      workers by the time when they were heard    workers:body, workers:told   hashes of them
-- callbacks_due, callbacks_expire, callbacks_of:CALLER   callbacks by time, by time, by number

local call = redis.call
local P = KEYS[1]
local ME = ARGV[2]

-- What a job of somebody costs who has had none, in seconds.
local COST = 1.0
-- How much the last attempt counts in the average of a caller's or a language's times.
local WEIGHT = 0.2
-- How long what became of a callback is kept, in milliseconds.
local CALLBACK_TTL = 7 * 24 * 60 * 60 * 1000
-- Workers that die with a job in a row, until nobody gets it any more.
local DEATHS_MAX = 2
-- After an outage, leases of workers that ran on get so much more time, in milliseconds.
local GRACE = 15000
local PRIORITY_MAX = 9
local WAITS = { ready = true, scheduled = true }
local RARE = { cancelled = true, expired = true, dead = true }
local FINAL = { succeeded = true, cancelled = true, expired = true, dead = true }

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The jobs that changed, and whether there may be work.
local changed, may_work = {}, false

-- Parts are told with their lengths: callers and languages hold what they like.
local function name(kind, one, two, three)
  local built = P .. kind .. ':' .. #one .. ':' .. one
  if two then
    built = built .. ':' .. #two .. ':' .. two
  end
  if three then
    built = built .. ':' .. #three .. ':' .. three
  end
  return built
end

local function of(kind, id)
  return P .. kind .. ':' .. id
end

local function number_of(value)
  return tonumber(value or 0)
end

-- A whole number as a text, however large.
local function text(number)
  return string.format('%.0f', number)
end

local function fields(flat)
  local found = {}
  for index = 1, #flat, 2 do
    found[flat[index]] = flat[index + 1]
  end
  return found
end

local function find(id)
  local flat = call('HGETALL', of('job', id))
  if #flat == 0 then
    return nil
  end
  local job = fields(flat)
  job.id = id
  return job
end

-- Writes what changes of a job; `false` is nothing.
local function change(job, changes)
  local set, gone = {}, {}
  for field, value in pairs(changes) do
    if value == false then
      gone[#gone + 1] = field
      job[field] = nil
    else
      set[#set + 1] = field
      set[#set + 1] = value
      job[field] = value
    end
  end
  if #set > 0 then
    call('HSET', of('job', job.id), unpack(set))
  end
  if #gone > 0 then
    call('HDEL', of('job', job.id), unpack(gone))
  end
end

local function tally(hash, field, by)
  if call('HINCRBY', hash, field, by) <= 0 then
    call('HDEL', hash, field)
  end
end

local function count(job, state, by)
  tally(name('totals', job.language), state, by)
  tally(name('counts', job.caller), state, by)
  if WAITS[state] then
    tally(P .. 'waiting', job.caller, by)
    call('INCRBY', P .. 'waiting_total', by)
  end
end

-- A job's place among others of the same turn is its number's.
local function place(job)
  return struct.pack('>I8', tonumber(job.number)) .. job.id
end

-- Changes a caller's ready jobs, and notes which of them is the first afterwards.
local function with_head(job, act)
  local own = name('own', job.priority, job.language, job.caller)
  local heads = name('heads', job.priority, job.language)
  local before = call('ZRANGE', own, 0, 0)[1]
  act(own)
  local after = call('ZRANGE', own, 0, 0, 'WITHSCORES')
  if before ~= after[1] then
    if before then
      call('ZREM', heads, before .. job.caller)
    end
    if after[1] then
      call('ZADD', heads, after[2], after[1] .. job.caller)
    end
  end
end

-- Takes a job out of where its state had it.
local function leave(job)
  local id = job.id
  if job.state == 'ready' then
    call('ZREM', name('ready', job.priority, job.language), place(job))
    call('ZREM', name('since', job.language), id)
    with_head(job, function(own) call('ZREM', own, place(job)) end)
  elseif job.state == 'scheduled' then
    call('ZREM', P .. 'scheduled', id)
  elseif job.state == 'leased' then
    call('ZREM', P .. 'leased', id)
    call('ZREM', name('worker', job.worker), id)
    if job.poll and not job.accepted then
      call('ZREM', name('poll', job.worker, job.poll), id)
    end
    tally(P .. 'running', job.caller, -1)
  else
    call('ZREM', P .. 'expires', id)
    if RARE[job.state] then
      call('ZREM', P .. 'rare:' .. job.state, id)
    end
  end
  if job.start_by then
    call('ZREM', P .. 'start_by', id)
  end
end

-- Puts a job where its state has it.
local function enter(job)
  local id = job.id
  if job.state == 'ready' then
    call('ZADD', name('ready', job.priority, job.language), job.turn, place(job))
    call('ZADD', name('since', job.language), now, id)
    with_head(job, function(own) call('ZADD', own, job.turn, place(job)) end)
    may_work = true
  elseif job.state == 'scheduled' then
    call('ZADD', P .. 'scheduled', job.run_at, id)
  elseif job.state == 'leased' then
    call('ZADD', P .. 'leased', job.lease_until, id)
    call('ZADD', name('worker', job.worker), job.number, id)
    if job.poll then
      call('ZADD', name('poll', job.worker, job.poll), job.number, id)
    end
    call('HINCRBY', P .. 'running', job.caller, 1)
  else
    call('ZADD', P .. 'expires', job.expires_at, id)
    if RARE[job.state] then
      call('ZADD', P .. 'rare:' .. job.state, job.number, id)
    end
  end
  if job.start_by and WAITS[job.state] then
    call('ZADD', P .. 'start_by', job.start_by, id)
  end
end

local function move(job, state, changes)
  leave(job)
  count(job, job.state, -1)
  changes.state = state
  changes.version = job.version + 1
  change(job, changes)
  count(job, state, 1)
  enter(job)
  changed[#changed + 1] = job.id
end

-- The turn of a caller's next job, and what it costs: as much later than the one before as that one is
-- expected to take. Who has none waiting comes in where the queue is, without any credit, and does
-- not wait for what is only guessed of its own job.
local function take_turn(caller, language)
  local shares = name('shares', caller)
  local turn_of, cost_of = 'turn:' .. language, 'cost:' .. language
  local share = call('HMGET', shares, turn_of, cost_of)
  local cost = tonumber(share[2] or COST)
  local clock = number_of(call('HGET', P .. 'clock', language))
  local turn = math.max(number_of(share[1]), clock)
  call('HSET', shares, turn_of, turn + cost, cost_of, cost)
  if not share[1] then
    call('SADD', name('sharers', language), caller)
  end
  return turn, cost
end

-- Makes a job final, and remembers whom to tell of it.
local function finish(job, state, reason)
  move(job, state, {
    reason = reason or false, token = false, lease_until = false, run_at = false,
    finished_at = now, expires_at = now + job.ttl_ms,
  })
  if job.callback_url then
    local number = text(call('INCR', P .. 'last_callback'))
    call('HSET', of('callback', number), 'id', job.id, 'caller', job.caller, 'url',
      job.callback_url, 'due_at', now)
    call('ZADD', P .. 'callbacks_due', now, number)
    call('ZADD', P .. 'callbacks_expire', now + CALLBACK_TTL, number)
    call('ZADD', name('callbacks_of', job.caller), number, number)
  end
end

local function note_attempt(job, reason)
  local attempts = of('attempts', job.id)
  local last = call('LINDEX', attempts, -1)
  if last then
    local attempt = cmsgpack.unpack(last)
    attempt[3], attempt[4] = now, reason
    call('LSET', attempts, -1, cmsgpack.pack(attempt))
  end
end

-- Has a job wait for its next attempt: a random part of the longest wait that there is after so
-- many attempts, of which `waits` has the first ones.
local function try_again(job, reason, waits)
  local longest = waits[math.min(math.max(number_of(job.attempt), 1), #waits)]
  local at = now + math.floor(longest * math.random())
  move(job, 'scheduled', { run_at = at, token = false, lease_until = false, reason = reason })
  return at
end

-- The longest waits from a text, and chance from a seed.
local function waits_from(words, seed)
  math.randomseed(tonumber(seed))
  local waits = {}
  for word in string.gmatch(words, '%d+') do
    waits[#waits + 1] = tonumber(word)
  end
  return waits
end

-- Makes a leased job ready again, as if it had not been claimed. It keeps its turn.
local function give_back(job)
  if job.cancel then
    finish(job, 'cancelled')
  else
    move(job, 'ready', { attempt = job.attempt - 1, token = false, lease_until = false })
  end
end

-- Notes that a worker died with a job, and ends it if that was its last attempt. Whether it did.
local function died(job)
  note_attempt(job, 'lost')
  local deaths = number_of(job.deaths) + 1
  change(job, { deaths = deaths })
  if job.cancel then
    finish(job, 'cancelled')
  elseif job.at_most_once then
    finish(job, 'dead', 'lost')
  elseif deaths >= DEATHS_MAX then
    finish(job, 'dead', 'poison')
  elseif tonumber(job.attempt) >= tonumber(job.attempts_max) then
    finish(job, 'dead', 'lost')
  else
    return false
  end
  return true
end

-- A leased job, if the token is its own.
local function held(id, token)
  local job = find(id)
  if job and job.state == 'leased' and job.token == token then
    return job
  end
  return nil
end

-- Tells other stores what changed here. Nobody has to hear it, and who may not say it has done its
-- work all the same.
local function tell()
  if #changed > 0 then
    redis.pcall('PUBLISH', P .. 'changed', ME .. table.concat(changed))
  end
  if may_work then
    redis.pcall('PUBLISH', P .. 'work', ME)
  end
end

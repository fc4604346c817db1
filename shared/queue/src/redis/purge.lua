-- Deletes what has been kept for long enough. ARGV[3..7]: at most how much of each kind, how many final
-- jobs, callbacks and idempotency keys are kept, and how long keys are. Answers how much it was.
local limit, kept_max, key_ttl = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[7])
local deleted = 0

local function delete(job)
  local id, caller = job.id, job.caller
  leave(job)
  count(job, job.state, -1)
  call('ZREM', P .. 'all', id)
  call('ZREM', name('of', caller), id)
  call('UNLINK', of('job', id), of('body', id), of('result', id), of('attempts', id))
  -- Callers who have nothing are as new ones.
  if call('EXISTS', name('of', caller)) == 0 then
    for _, field in ipairs(call('HKEYS', name('shares', caller))) do
      local language = string.match(field, '^turn:(.*)$')
      if language then
        call('SREM', name('sharers', language), caller)
      end
    end
    call('UNLINK', name('shares', caller))
  end
end

local function ended(where)
  return call('ZRANGEBYSCORE', P .. where, '-inf', '(' .. text(now), 'LIMIT', 0, limit)
end

-- Jobs that have been kept for long enough, and the oldest of those beyond the most that are kept.
local too_many = call('ZCARD', P .. 'expires') - kept_max
local oldest = limit > 0 and call('ZRANGE', P .. 'expires', 0, limit - 1, 'WITHSCORES') or {}
for index = 1, #oldest, 2 do
  if (index + 1) / 2 <= too_many or tonumber(oldest[index + 1]) < now then
    delete(find(oldest[index]))
    deleted = deleted + 1
  end
end

local function forget_key(key)
  call('ZREM', P .. 'keys', key)
  call('UNLINK', key)
  deleted = deleted + 1
end

-- Has a key that is needed come behind the others, with its time again: it is in nobody's way.
local function renew_key(key)
  call('HSET', key, 'expires_at', now + key_ttl)
  call('ZADD', P .. 'keys', now + key_ttl, key)
end

-- Those that have ended, but for those that stand for jobs that are kept.
for _, key in ipairs(ended('keys')) do
  if call('EXISTS', of('job', call('HGET', key, 'id'))) == 1 then
    renew_key(key)
  else
    forget_key(key)
  end
end
-- The oldest of those beyond the most that are kept, but for those whose jobs are not over.
local keys_beyond = math.min(call('ZCARD', P .. 'keys') - tonumber(ARGV[6]), limit)
for _, key in ipairs(keys_beyond > 0 and call('ZRANGE', P .. 'keys', 0, keys_beyond - 1) or {}) do
  local state = call('HGET', of('job', call('HGET', key, 'id')), 'state')
  if state and not FINAL[state] then
    renew_key(key)
  else
    forget_key(key)
  end
end

local function forget(number)
  local callback = of('callback', number)
  local caller = call('HGET', callback, 'caller')
  call('ZREM', P .. 'callbacks_expire', number)
  call('ZREM', P .. 'callbacks_due', number)
  if caller then
    call('ZREM', name('callbacks_of', caller), number)
  end
  call('UNLINK', callback)
  deleted = deleted + 1
end

for _, number in ipairs(ended('callbacks_expire')) do
  forget(number)
end
-- The oldest of those beyond the most that are kept.
local beyond = math.min(call('ZCARD', P .. 'callbacks_expire') - tonumber(ARGV[5]), limit)
if beyond > 0 then
  for _, number in ipairs(call('ZRANGE', P .. 'callbacks_expire', 0, beyond - 1)) do
    forget(number)
  end
end

-- A lane that has no job begins anew, when nobody is left who had a turn there.
local left = limit
for _, language in ipairs(call('SMEMBERS', P .. 'languages')) do
  local sharers = name('sharers', language)
  if left > 0 and call('EXISTS', name('totals', language)) == 0 then
    for _, caller in ipairs(call('SPOP', sharers, left)) do
      call('HDEL', name('shares', caller), 'turn:' .. language, 'cost:' .. language)
      left = left - 1
    end
    if call('EXISTS', sharers) == 0 then
      call('SREM', P .. 'languages', language)
      call('HDEL', P .. 'clock', language)
      call('HDEL', P .. 'average', language)
      left = left - 1
    end
  end
end
return deleted + limit - left

-- Deletes what has been kept for long enough. ARGV[3..5]: at most how much of each kind, and how many
-- final jobs and how many callbacks are kept. Answers how much it was.
local limit, kept_max = tonumber(ARGV[3]), tonumber(ARGV[4])
local deleted = 0

local function delete(job)
  local id, caller, language = job.id, job.caller, job.language
  leave(job)
  count(job, job.state, -1)
  call('ZREM', P .. 'all', id)
  call('ZREM', name('of', caller), id)
  call('UNLINK', of('job', id), of('body', id), of('result', id), of('attempts', id))
  if call('EXISTS', name('totals', language)) == 0 then
    call('SREM', P .. 'languages', language)
  end
  -- Shares of callers who have nothing are what a new caller would get.
  if call('EXISTS', name('of', caller)) == 0 then
    call('UNLINK', name('shares', caller))
  end
end

local function ended(where)
  local found = call('ZRANGEBYSCORE', P .. where, '-inf', '(' .. text(now), 'LIMIT', 0, limit)
  deleted = deleted + #found
  return found
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
for _, key in ipairs(ended('keys')) do
  call('ZREM', P .. 'keys', key)
  call('UNLINK', key)
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
  deleted = deleted + beyond
end
return deleted

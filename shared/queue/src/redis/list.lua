-- Jobs, the newest first. ARGV[3..10]: at most how many, at most how many to look at, below which
-- number, caller, state, what its lane begins with, since when and before when; what is not asked for is empty.
-- ARGV[11] tells whether there is a caller, and ARGV[12] is a queue or empty. Answers the last number that was looked at, whether there
-- are more, and the jobs.
local limit, look_max, from = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local state, language, queue = ARGV[7], ARGV[8], ARGV[12]
local since, before = tonumber(ARGV[9]), tonumber(ARGV[10])
local set = ARGV[11] == '1' and name('of', ARGV[6]) or P .. 'all'

-- How many jobs, the newest first, came at that time or later: numbers grow with time, so this
-- looks at few of them.
local function not_before(time)
  local low, high = 0, call('ZCARD', set)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = call('ZRANGE', set, middle, middle, 'REV')[1]
    if number_of(call('HGET', of('job', id), 'created_at')) >= time then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local first = 0
if from ~= '' then
  first = call('ZCOUNT', set, from, '+inf')
end
if before then
  first = math.max(first, not_before(before))
end
local last = call('ZCARD', set)
if since then
  last = not_before(since)
end
local jobs, number = {}, from ~= '' and from or '0'
local stop = math.min(last, first + look_max)
local rank = first
while rank < stop and #jobs < limit do
  local page = call('ZRANGE', set, rank, math.min(rank + 99, stop - 1), 'REV', 'WITHSCORES')
  for index = 1, #page, 2 do
    if #jobs == limit then
      break
    end
    rank, number = rank + 1, page[index + 1]
    local job = of('job', page[index])
    local known = call('HMGET', job, 'state', 'language')
    local is_wanted = (state == '' or known[1] == state)
      and (language == '' or string.sub(known[2] .. '\31', 1, #language) == language)
      and (queue == '' or (string.match(known[2], '\31(.*)$') or 'default') == queue)
    if is_wanted then
      jobs[#jobs + 1] = { page[index], call('HGETALL', job) }
    end
  end
end
return { text(tonumber(number)), rank < last and 1 or 0, jobs }

-- Jobs, the newest first. ARGV[3..10]: at most how many, at most how many to look at, below which
-- number, caller, state, what its lane begins with, since when and before when; what is not asked for
-- is empty. ARGV[11] tells whether there is a caller, and ARGV[12] is a queue or empty. Answers the last
-- number that was looked at, whether there are more, and the jobs.
local limit, look_max, from = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local caller, state, language, queue = ARGV[11] == '1' and ARGV[6], ARGV[7], ARGV[8], ARGV[12]
local since, before = tonumber(ARGV[9]), tonumber(ARGV[10])

-- The jobs of a set by number: how many they are, and how many from a number on, and those from one
-- place to another, the newest first, with their numbers.
local function of_set(set)
  return {
    size = call('ZCARD', set),
    from = function(number) return call('ZCOUNT', set, number, '+inf') end,
    page = function(first, last) return call('ZRANGE', set, first, last, 'REV', 'WITHSCORES') end,
  }
end

-- The same of sets in another order, all of which are read.
local function of_sets(sets)
  local jobs = {}
  for _, set in ipairs(sets) do
    for _, id in ipairs(call('ZRANGE', set, 0, -1)) do
      jobs[#jobs + 1] = { id, number_of(call('HGET', of('job', id), 'number')) }
    end
  end
  table.sort(jobs, function(one, other) return one[2] > other[2] end)
  return {
    size = #jobs,
    from = function(number)
      local found = 0
      while found < #jobs and jobs[found + 1][2] >= tonumber(number) do
        found = found + 1
      end
      return found
    end,
    page = function(first, last)
      local page = {}
      for index = first + 1, math.min(last + 1, #jobs) do
        page[#page + 1] = jobs[index][1]
        page[#page + 1] = text(jobs[index][2])
      end
      return page
    end,
  }
end

-- Where the jobs of a state are that are not over.
local function sets_of_state()
  if state ~= 'ready' then
    return { P .. state }
  end
  local sets = {}
  for _, lane in ipairs(call('SMEMBERS', P .. 'languages')) do
    sets[#sets + 1] = name('since', lane)
  end
  return sets
end

-- Where to look for the jobs: among few of them, if they are in a state that few are in.
local function source()
  local all = caller and name('of', caller) or P .. 'all'
  local size = call('ZCARD', all)
  if RARE[state] then
    local rare = P .. 'rare:' .. state
    return of_set(call('ZCARD', rare) < size and rare or all)
  end
  if state == 'ready' or state == 'scheduled' or state == 'leased' then
    local sets, count = sets_of_state(), 0
    for _, set in ipairs(sets) do
      count = count + call('ZCARD', set)
    end
    if count <= math.min(size, look_max) then
      return of_sets(sets)
    end
  end
  return of_set(all)
end

local found = source()

-- How many jobs, the newest first, came at that time or later: numbers grow with time, so this
-- looks at few of them.
local function not_before(time)
  local low, high = 0, found.size
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = found.page(middle, middle)[1]
    if number_of(call('HGET', of('job', id), 'created_at')) >= time then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function is_wanted(job)
  local known = call('HMGET', job, 'state', 'language', 'caller')
  return (state == '' or known[1] == state)
    and (not caller or known[3] == caller)
    and (language == '' or string.sub(known[2] .. '\31', 1, #language) == language)
    and (queue == '' or (string.match(known[2], '\31(.*)$') or 'default') == queue)
end

local first = from ~= '' and found.from(from) or 0
if before then
  first = math.max(first, not_before(before))
end
local last = since and not_before(since) or found.size
local jobs, number = {}, from ~= '' and from or '0'
local stop = math.min(last, first + look_max)
local rank = first
while rank < stop and #jobs < limit do
  local page = found.page(rank, math.min(rank + 99, stop - 1))
  for index = 1, #page, 2 do
    if #jobs == limit then
      break
    end
    rank, number = rank + 1, page[index + 1]
    local job = of('job', page[index])
    if is_wanted(job) then
      jobs[#jobs + 1] = { page[index], call('HGETALL', job) }
    end
  end
end
return { text(tonumber(number)), rank < last and 1 or 0, jobs }

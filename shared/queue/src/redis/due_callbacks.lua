-- Callbacks that are due and whose turn it is: those of a caller who has enough on their way come behind
-- the others. ARGV[4..7]: how many are looked at, how many are taken, for how long they are not due
-- again, and how many of one caller may be on their way; then who has how many.
local limit, till = tonumber(ARGV[5]), now + ARGV[6]
local of_caller_max, sending = tonumber(ARGV[7]), {}
for at = 8, #ARGV, 2 do
  sending[ARGV[at]] = tonumber(ARGV[at + 1])
end

local function due_at(number, at)
  call('ZADD', P .. 'callbacks_due', at, number)
  call('HSET', of('callback', number), 'due_at', at)
end

local answers = {}
local due = call('ZRANGEBYSCORE', P .. 'callbacks_due', '-inf', now, 'LIMIT', 0, ARGV[4])
for _, number in ipairs(due) do
  if #answers >= limit then
    break
  end
  local known = call('HMGET', of('callback', number), 'id', 'caller', 'url')
  local id, caller = known[1], known[2]
  local of_caller = sending[caller] or 0
  if of_caller < of_caller_max then
    sending[caller] = of_caller + 1
    due_at(number, till)
    local attempt = call('HINCRBY', of('callback', number), 'attempt', 1)
    answers[#answers + 1] = { number, id, caller, known[3], attempt }
  else
    due_at(number, now)
  end
  keep(id, till)
end
return answers

-- Callbacks that are due. ARGV[3], ARGV[4]: at most how many, and for how long they are not due again.
local answers = {}
local due = call('ZRANGEBYSCORE', P .. 'callbacks_due', '-inf', now, 'LIMIT', 0, ARGV[3])
for _, number in ipairs(due) do
  local callback = of('callback', number)
  local till = now + ARGV[4]
  call('ZADD', P .. 'callbacks_due', till, number)
  call('HSET', callback, 'due_at', till)
  local attempt = call('HINCRBY', callback, 'attempt', 1)
  local known = call('HMGET', callback, 'id', 'url')
  answers[#answers + 1] = { number, known[1], known[2], attempt }
end
return answers

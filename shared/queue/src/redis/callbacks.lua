-- The callbacks of a caller that were not taken, the newest first. ARGV[3], ARGV[4]: the caller, and
-- at most how many.
local answers = {}
local limit = tonumber(ARGV[4])
local open = limit > 0
  and call('ZRANGE', name('callbacks_of', ARGV[3]), 0, limit - 1, 'REV') or {}
for _, number in ipairs(open) do
  local known = call('HMGET', of('callback', number), 'id', 'url', 'attempt', 'due_at', 'reason')
  answers[#answers + 1] = { number, known[1], known[2], known[3], known[4], known[5] }
end
return answers

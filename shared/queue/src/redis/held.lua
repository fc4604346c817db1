-- The leases that a worker has. ARGV[3..4]: the worker, and how many at most. Answers job, token,
-- caller and milliseconds since it was granted of each.
local answers = {}
for _, id in ipairs(call('ZRANGE', name('worker', ARGV[3]), 0, ARGV[4] - 1)) do
  local known = call('HMGET', of('job', id), 'token', 'caller', 'started_at')
  if known[1] then
    answers[#answers + 1] = {
      id, known[1], known[2] or '', text(math.max(now - number_of(known[3]), 0)),
    }
  end
end
return answers

-- What waits and what goes on. Answers for each language its name, counts, the time of its oldest
-- ready job, and the average time of an attempt.
local answers = {}
for _, language in ipairs(call('SMEMBERS', P .. 'languages')) do
  local counts = call('HMGET', name('totals', language), 'scheduled', 'ready', 'leased', 'dead')
  local oldest = call('ZRANGE', name('since', language), 0, 0, 'WITHSCORES')[2]
  local waited = oldest and math.max(0, now - oldest)
  answers[#answers + 1] = {
    language, number_of(counts[1]), number_of(counts[2]), number_of(counts[3]),
    number_of(counts[4]), waited or false, call('HGET', P .. 'average', language),
  }
end
return answers

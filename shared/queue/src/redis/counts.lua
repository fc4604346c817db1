-- How many jobs there are in each state. ARGV[3] and ARGV[4]: whether of one caller, and of which.
-- Answers states with numbers; without a caller those of each language.
local hashes = {}
if ARGV[3] == '1' then
  hashes[1] = name('counts', ARGV[4])
else
  for _, language in ipairs(call('SMEMBERS', P .. 'languages')) do
    hashes[#hashes + 1] = name('totals', language)
  end
end
local answers = {}
for _, hash in ipairs(hashes) do
  local counted = call('HGETALL', hash)
  for index = 1, #counted, 2 do
    answers[#answers + 1] = { counted[index], tonumber(counted[index + 1]) }
  end
end
return answers

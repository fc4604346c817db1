-- ARGV[3], ARGV[4]: how old notices are told at most, and how many. Answers each worker with its body,
-- its age, and what it is to be told, in a list if there is anything.
local found = {}
local young = call('ZRANGE', P .. 'workers', '(' .. text(now - tonumber(ARGV[3])), '+inf', 'BYSCORE',
  'LIMIT', 0, ARGV[4], 'WITHSCORES')
for index = 1, #young, 2 do
  local worker = young[index]
  local told = call('HGET', P .. 'workers:told', worker)
  found[#found + 1] = {
    worker, call('HGET', P .. 'workers:body', worker) or '', now - number_of(young[index + 1]),
    told and { told } or {},
  }
end
return found

-- Has a page of the jobs of version 1 be as they are now. ARGV[3], ARGV[4]: the number that the page
-- begins after, and the version afterwards. Answers the number of its last job; the version is written
-- when there is none.
local page = call('ZRANGE', P .. 'all', '(' .. ARGV[3], '+inf', 'BYSCORE', 'LIMIT', 0, 1000, 'WITHSCORES')
for index = 1, #page, 2 do
  local id, number = page[index], page[index + 1]
  local known = call('HMGET', of('job', id), 'state', 'caller')
  if RARE[known[1]] then
    call('ZADD', P .. 'rare:' .. known[1], number, id)
  end
  for _, field in ipairs(call('HKEYS', name('shares', known[2]))) do
    local language = string.match(field, '^turn:(.*)$')
    if language then
      call('SADD', name('sharers', language), known[2])
    end
  end
end
if #page > 0 then
  return page[#page]
end
for _, language in ipairs(call('HKEYS', P .. 'clock')) do
  call('SADD', P .. 'languages', language)
end
call('HSET', P .. 'schema', 'version', ARGV[4])
return ''

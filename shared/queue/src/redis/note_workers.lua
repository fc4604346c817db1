-- ARGV[3], ARGV[4]: after how long a worker is forgotten, and how many are noted; then each with its
-- body.
local forget, count = tonumber(ARGV[3]), tonumber(ARGV[4])
for index = 0, count - 1 do
  local worker = ARGV[5 + 2 * index]
  call('ZADD', P .. 'workers', now, worker)
  call('HSET', P .. 'workers:body', worker, ARGV[6 + 2 * index])
end
for _, worker in ipairs(call('ZRANGE', P .. 'workers', '-inf', now - forget, 'BYSCORE', 'LIMIT', 0, 1000)) do
  call('ZREM', P .. 'workers', worker)
  call('HDEL', P .. 'workers:body', worker)
  call('HDEL', P .. 'workers:told', worker)
end
return 0

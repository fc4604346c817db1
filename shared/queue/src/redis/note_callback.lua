-- Notes what came of a callback. ARGV[4..6]: which, after what time it is tried again or nothing,
-- and why it was not taken; ARGV[7] tells whether it was not.
local number, again = ARGV[4], tonumber(ARGV[5])
local callback = of('callback', number)
local caller = call('HGET', callback, 'caller')
if not caller then
  return 0
end
if again then
  call('HSET', callback, 'due_at', now + again)
  call('ZADD', P .. 'callbacks_due', now + again, number)
  keep(call('HGET', callback, 'id'), now + again)
else
  call('HDEL', callback, 'due_at')
  call('ZREM', P .. 'callbacks_due', number)
end
if ARGV[7] == '1' then
  call('HSET', callback, 'reason', ARGV[6])
  call('ZADD', name('callbacks_of', caller), number, number)
else
  call('HDEL', callback, 'reason')
  call('ZREM', name('callbacks_of', caller), number)
end
return 1

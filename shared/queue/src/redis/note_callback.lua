-- Notes what came of a callback. ARGV[3..5]: which, after what time it is tried again or nothing,
-- and why it was not taken; ARGV[6] tells whether it was not.
local number, again = ARGV[3], tonumber(ARGV[4])
local callback = of('callback', number)
local caller = call('HGET', callback, 'caller')
if not caller then
  return 0
end
if again then
  call('HSET', callback, 'due_at', now + again)
  call('ZADD', P .. 'callbacks_due', now + again, number)
else
  call('HDEL', callback, 'due_at')
  call('ZREM', P .. 'callbacks_due', number)
end
if ARGV[6] == '1' then
  call('HSET', callback, 'reason', ARGV[5])
  call('ZADD', name('callbacks_of', caller), number, number)
else
  call('HDEL', callback, 'reason')
  call('ZREM', name('callbacks_of', caller), number)
end
return 1

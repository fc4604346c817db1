-- ARGV[3]: a worker that has left.
call('ZREM', P .. 'workers', ARGV[3])
call('HDEL', P .. 'workers:body', ARGV[3])
call('HDEL', P .. 'workers:told', ARGV[3])
return 0

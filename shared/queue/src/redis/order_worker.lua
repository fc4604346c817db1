-- ARGV[3], ARGV[4]: a worker, and what it is to be told.
if not call('ZSCORE', P .. 'workers', ARGV[3]) then
  return 0
end
call('HSET', P .. 'workers:told', ARGV[3], ARGV[4])
return 1
